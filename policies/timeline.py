"""Free GPUs, CPUs and power by site and slot; what is sold once is not sold again (INV-07)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float]
"""Start and end of a stretch of work, in seconds after now."""

Need = tuple[int, int, float]
"""GPUs and CPUs that one stretch holds, and watts that it draws."""

IntArray = NDArray[np.int64]
SlotOf = Callable[[float], int]
Rows = int | IntArray
"""One row, or several."""

MW_PER_W = 1000


def milliwatts(power_w: float) -> int:
    """Power as it is sold: in whole numbers what is given back is exactly what was taken."""
    return round(power_w * MW_PER_W)


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """What rows of a timeline have in common; without it each row is a site for itself, and power is no bound.

    Attributes:
        twins: for each row all that have the same GPUs and CPUs, itself among them.
        kin: for each row all that draw on the same power, itself among them.
        free_mw: [row, slot], power left in milliwatts.

    """

    twins: tuple[Rows, ...]
    kin: tuple[Rows, ...]
    free_mw: IntArray


class Timeline:
    """Capacity left per site and slot.

    A run holds whole slots: every slot in which it would run at all. Free counts may be negative where
    running attempts already exceed a capacity that has shrunk; nothing is sold there.

    Attributes:
        free_gpus: [site, slot].
        free_cpus: [site, slot].
        common: what its rows have in common; None where each is a site for itself.

    """

    __slots__ = ("_slot_at", "_slots_until", "common", "free_cpus", "free_gpus")

    def __init__(
        self,
        free_gpus: IntArray,
        free_cpus: IntArray,
        slot_at: SlotOf,
        slots_until: SlotOf,
        common: Common | None = None,
    ) -> None:
        """Take [site, slot] arrays and the grid's two conversions from seconds to slots."""
        self.free_gpus, self.free_cpus, self.common = free_gpus, free_cpus, common
        self._slot_at, self._slots_until = slot_at, slots_until

    def copy(self) -> "Timeline":
        """The same capacity, sold independently."""
        common = None if self.common is None else replace(self.common, free_mw=self.common.free_mw.copy())
        return Timeline(self.free_gpus.copy(), self.free_cpus.copy(), self._slot_at, self._slots_until, common)

    def sell(self, site: int, spans: tuple[Span, ...], gpus: int, cpus: int, power_w: float = 0.0) -> None:
        """Take capacity for every slot that the spans touch."""
        common = self.common
        rows: Rows = site if common is None else common.twins[site]
        for start_s, end_s in spans:
            first, last = self._slot_at(start_s), self._slots_until(end_s)
            self.free_gpus[rows, first:last] -= gpus
            self.free_cpus[rows, first:last] -= cpus
            if common is not None:
                common.free_mw[common.kin[site], first:last] -= milliwatts(power_w)

    def give_back(self, site: int, spans: tuple[Span, ...], gpus: int, cpus: int, power_w: float = 0.0) -> None:
        """Undo ``sell`` with the same arguments."""
        self.sell(site, spans, -gpus, -cpus, -power_w)

    def fits(self, site: int, spans: tuple[Span, ...], gpus: int, cpus: int, power_w: float = 0.0) -> bool:
        """Whether every slot that the spans touch still has the capacity."""
        for start_s, end_s in spans:
            first, last = self._slot_at(start_s), self._slots_until(end_s)
            free_gpus, free_cpus = self.free_gpus[site, first:last], self.free_cpus[site, first:last]
            if free_gpus.size and (int(free_gpus.min()) < gpus or int(free_cpus.min()) < cpus):
                return False
            if self.common is not None and (self.common.free_mw[site, first:last] < milliwatts(power_w)).any():
                return False
        return True

    def sell_each(self, site: int, spans: tuple[Span, ...], needs: tuple[Need, ...]) -> None:
        """Take for each span of one job its own need; a slot that two of them touch is sold once, at the higher one."""
        if self._are_alike(spans, needs):  # the usual case, and three times as fast
            self.sell(site, spans, *needs[0])
        else:
            self._take(site, self._peaks(spans, needs))

    def give_back_each(self, site: int, spans: tuple[Span, ...], needs: tuple[Need, ...]) -> None:
        """Undo ``sell_each`` with the same arguments."""
        self._take(site, -self._peaks(spans, needs))

    def _take(self, site: int, held: IntArray) -> None:
        """Take [GPUs, CPUs or milliwatts, slot]."""
        rows: Rows = site if self.common is None else self.common.twins[site]
        self.free_gpus[rows] -= held[0]
        self.free_cpus[rows] -= held[1]
        if self.common is not None:
            self.common.free_mw[self.common.kin[site]] -= held[2]

    def fits_each(self, site: int, spans: tuple[Span, ...], needs: tuple[Need, ...]) -> bool:
        """Whether ``sell_each`` would leave no slot that it touches short."""
        if self._are_alike(spans, needs):
            return self.fits(site, spans, *needs[0])
        gpus, cpus, power_mw = self._peaks(spans, needs)
        short = (self.free_gpus[site] < gpus) | (self.free_cpus[site] < cpus)
        if self.common is not None:
            short |= self.common.free_mw[site] < power_mw
        return not bool((short & ((gpus > 0) | (cpus > 0))).any())

    def sell_where_free(self, site: int, spans: tuple[Span, ...], needs: tuple[Need, ...]) -> bool:
        """``sell_each``, unless that would leave a slot that it touches short: then nothing is sold."""
        touched = [(self._slot_at(start_s), self._slots_until(end_s)) for start_s, end_s in spans]
        is_apart = all(after[0] >= before[1] for before, after in pairwise(touched))
        if self.common is not None or not is_apart or needs.count(needs[0]) < len(needs):
            is_free = self.fits_each(site, spans, needs)
            if is_free:
                self.sell_each(site, spans, needs)
            return is_free
        gpus, cpus, _ = needs[0]
        held = [(self.free_gpus[site, low:high], self.free_cpus[site, low:high]) for low, high in touched]
        if any(len(g) and (int(g.min()) < gpus or int(c.min()) < cpus) for g, c in held):
            return False
        for low, high in touched:
            self.free_gpus[site, low:high] -= gpus
            self.free_cpus[site, low:high] -= cpus
        return True

    def _are_alike(self, spans: tuple[Span, ...], needs: tuple[Need, ...]) -> bool:
        """Whether all spans need the same, and no two of them touch the same slot."""
        if len(spans) == 1:
            return True
        until = 0
        for start_s, end_s in spans:
            if self._slot_at(start_s) < until:
                return False
            until = self._slots_until(end_s)
        return needs.count(needs[0]) == len(needs)

    def _peaks(self, spans: tuple[Span, ...], needs: tuple[Need, ...]) -> IntArray:
        """[GPUs, CPUs or milliwatts, slot], the most that one of the spans needs."""
        peaks = np.zeros((3, self.free_gpus.shape[1]), dtype=np.int64)
        for (start_s, end_s), (gpus, cpus, power_w) in zip(spans, needs, strict=True):
            touched = slice(self._slot_at(start_s), self._slots_until(end_s))
            need = np.array((gpus, cpus, milliwatts(power_w)))[:, None]
            np.maximum(peaks[:, touched], need, out=peaks[:, touched])
        return peaks

    def has_room(self, gpus: int, cpus: int, power_w: float = 0.0) -> NDArray[np.bool_]:
        """[site, slot], whether the slot could take the request."""
        room: NDArray[np.bool_] = (self.free_gpus >= gpus) & (self.free_cpus >= cpus)
        if self.common is not None:
            room &= self.common.free_mw >= milliwatts(power_w)
        return room
