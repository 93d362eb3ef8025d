"""A mixed-integer linear program that is written down piece by piece, and solved by HiGHS through SciPy.

Nothing in it depends on the clock or on chance: it ends at a gap or at a number of nodes, never at a time, and one
program has one answer (INV-14).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowtide.policies.problem import BoolArray, FloatArray, IntArray

Values = FloatArray | float
SOLVED, NODES_SPENT = 0, 1
WHOLE, LEAST = 1e-6, 1e-9
"""What is so near to a whole number is one; costs, relative to the greatest, so close are equal."""


@dataclass(frozen=True, slots=True)
class Effort:
    """When to stop: ``gap`` is relative to what was found, ``most_nodes`` counts linear programs in HiGHS' tree.

    A program of more than ``most_searched`` columns is not searched at all: it is made whole by hand, or not.
    """

    gap: float
    most_nodes: int
    most_searched: int


class Linear:
    """Columns with costs and bounds, rows between bounds."""

    __slots__ = ("_cells", "_columns", "_high", "_low", "size")

    def __init__(self) -> None:
        """Nothing yet."""
        self._columns: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
        self._cells: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._low: list[FloatArray] = []
        self._high: list[FloatArray] = []
        self.size = 0

    def columns(
        self, count: int, *, cost: Values = 0.0, low: Values = 0.0, high: Values = np.inf, is_whole: bool = False
    ) -> IntArray:
        """So many more columns; gives their numbers."""
        self._columns.append(
            (_spread(cost, count), _spread(low, count), _spread(high, count), _spread(float(is_whole), count))
        )
        self.size += count
        return np.arange(self.size - count, self.size)

    def rows(self, *terms: tuple[IntArray, Values], low: Values = -np.inf, high: Values = np.inf) -> IntArray:
        """One more row per entry of the first term: low ≤ Σ value · column ≤ high, entry by entry; their numbers."""
        count, begin = len(terms[0][0]), self.count
        numbers = np.arange(begin, begin + count)
        self._cells += [(numbers, columns, _spread(values, count)) for columns, values in terms]
        return self._bound(low, high, count)

    def row(self, *terms: tuple[IntArray, Values], low: float = -np.inf, high: float = np.inf) -> int:
        """One more row over all columns of the terms; its number."""
        begin = self.count
        self._cells += [(np.full(len(c), begin), c, _spread(values, len(c))) for c, values in terms]
        return int(self._bound(low, high, 1)[0])

    def limits(self, high: FloatArray, low: Values = -np.inf) -> IntArray:
        """Rows without columns yet; their numbers."""
        return self._bound(low, high, len(high))

    def cells(self, rows: IntArray, columns: IntArray, values: Values) -> None:
        """More columns of rows that are there."""
        self._cells.append((rows, columns, _spread(values, len(rows))))

    def least(self, effort: Effort, cost: FloatArray | None = None) -> FloatArray | None:
        """The columns' values at the least cost, or the best found within the effort; None where there is none.

        First column after column is made whole by hand, which takes a moment and mostly ends within the gap.
        """
        own, low, high, is_whole = (np.concatenate(parts) for parts in zip(*self._columns, strict=True))
        scaled = (own if cost is None else cost) / _scale(own if cost is None else cost)
        fluid = self._solved(scaled, low, high, 0.0 * is_whole, effort)
        if fluid is None:
            return None
        near = self._made_whole(fluid, scaled, low, high, is_whole > 0)
        if near is not None and near.fun <= fluid.fun + effort.gap * abs(near.fun) + LEAST:
            return _values(near)
        if self.size > effort.most_searched:
            return None if near is None else _values(near)
        found = self._solved(scaled, low, high, is_whole, effort)
        if found is None or (near is not None and near.fun <= found.fun):
            return None if near is None else _values(near)
        return _values(found)

    def _made_whole(self, fluid: Any, cost: FloatArray, low: FloatArray, high: FloatArray, whole: BoolArray) -> Any:
        """A whole solution near a fluid one: what is whole stays, the greatest part becomes whole, and so on."""
        firm = low.copy()
        while fluid is not None:
            parts = np.where(whole, fluid.x, 0.0)
            firm[parts > 1 - WHOLE] = 1.0
            open_parts = np.where(parts > 1 - WHOLE, 0.0, parts)
            if open_parts.max() < WHOLE:
                break
            firm[int(open_parts.argmax())] = 1.0
            fluid = self._solved(cost, firm, high, np.zeros(len(firm)), Effort(0.0, 1, 0))
        return fluid

    def _solved(self, cost: FloatArray, low: FloatArray, high: FloatArray, is_whole: FloatArray, effort: Effort) -> Any:
        rows = _scipy().LinearConstraint(self._matrix(), np.concatenate(self._low), np.concatenate(self._high))
        found = _scipy().milp(
            cost,
            integrality=is_whole,
            bounds=_scipy().Bounds(low, high),
            constraints=rows,
            options={"mip_rel_gap": effort.gap, "node_limit": effort.most_nodes},
        )
        return None if found.x is None or found.status not in {SOLVED, NODES_SPENT} else found

    def duals(self, cost: FloatArray | None = None) -> FloatArray | None:
        """[row], what one more of each row's bound would add to the least cost if columns could be split."""
        own, low, high, _ = (np.concatenate(parts) for parts in zip(*self._columns, strict=True))
        cost = own if cost is None else cost
        least, most, matrix = np.concatenate(self._low), np.concatenate(self._high), self._matrix()
        equal, above, below = least == most, (least < most) & np.isfinite(least), (least < most) & np.isfinite(most)
        found = _scipy().linprog(
            cost / _scale(cost),
            A_ub=_stacked(matrix[below], -matrix[above]),
            b_ub=np.concatenate((most[below], -least[above])),
            A_eq=matrix[equal],
            b_eq=most[equal],
            bounds=np.column_stack((low, high)),
            method="highs",
        )
        if found.status != SOLVED:
            return None
        duals = np.zeros(self.count)
        duals[equal] = found.eqlin.marginals
        duals[below] = found.ineqlin.marginals[: below.sum()]
        duals[above] -= found.ineqlin.marginals[below.sum() :]
        told: FloatArray = duals * _scale(cost)
        return told

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(map(len, self._low))

    def _matrix(self) -> Any:
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._cells, strict=True))
        return _sparse().csr_matrix((values, (rows, columns)), shape=(self.count, self.size))

    def _bound(self, low: Values, high: Values, count: int) -> IntArray:
        self._low.append(_spread(low, count))
        self._high.append(_spread(high, count))
        return np.arange(self.count - count, self.count)


def _values(found: Any) -> FloatArray:
    return np.asarray(found.x, dtype=np.float64)


def _scale(cost: FloatArray) -> float:
    """HiGHS' tolerances are absolute, so costs go in relative to the greatest."""
    return max(float(np.abs(cost).max()), float(np.finfo(float).tiny))


def _scipy() -> Any:
    from scipy import optimize  # noqa: PLC0415 - slow to import, and needed by this policy alone

    return optimize


def _sparse() -> Any:
    from scipy import sparse  # noqa: PLC0415 - as above

    return sparse


def _stacked(above: Any, below: Any) -> Any:
    return _sparse().vstack((above, below), format="csr")


def _spread(values: Values, count: int) -> FloatArray:
    return np.broadcast_to(np.asarray(values, dtype=np.float64), count)
