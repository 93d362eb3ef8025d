"""Many plays at once: the cross product of what is to be compared, in this process, in several, or on a Ray cluster."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import product
from multiprocessing import get_context

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.simulate.play import Play, foresight_fraction, result
from lowtide.scheduler.simulate.result import Result

Params = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter with the values to try; ``policy`` is empty where it is meant for all."""

    policy: str
    name: str
    values: tuple[float, ...]


def crossed(
    bases: Sequence[Play], caps: Sequence[int | None], policies: Sequence[str], axes: Sequence[Axis]
) -> list[Play]:
    """Every base with every cap, policy and choice of its parameters, in this order.

    Raises:
        BadInput: a parameter is meant for a policy that is not played.

    """
    for axis in axes:
        if axis.policy not in {"", *policies}:
            message = f"--param {axis.policy}.{axis.name} is meant for a policy that is not played."
            raise BadInput(message, fix=f"Add --policy {axis.policy}, or correct the name.")
    return [
        replace(base, gpus=cap, policy=policy, params=params)
        for base, cap, policy in product(bases, caps, policies)
        for params in _choices(policy, axes)
    ]


def _choices(policy: str, axes: Sequence[Axis]) -> Iterator[Params]:
    own = [[(axis.name, value) for value in axis.values] for axis in axes if axis.policy in {"", policy}]
    yield from product(*own)


def timed(play: Play) -> Result:
    """The result of a play with how long it took, and its share of what perfect foresight saves."""
    begun = time.perf_counter()
    found = result(play)
    report = {**found.report, "wall_s": round(time.perf_counter() - begun, 3)}
    return replace(found, report={**report, "foresight_fraction": foresight_fraction(play, report)})


def played_here(plays: Sequence[Play], workers: int) -> list[Result]:
    """Results in the order of the plays; with more than one worker each play has a process of its own for its time.

    Raises:
        BadInput: as ``result``, or the processes were ended from outside.

    """
    if workers == 1 or len(plays) == 1:
        return [timed(play) for play in plays]
    # spawned: a fork would take along what threads of NumPy's libraries hold at that moment
    with ProcessPoolExecutor(min(workers, len(plays)), mp_context=get_context("spawn")) as pool:
        try:
            return list(pool.map(timed, plays))
        except BrokenProcessPool:
            message = "a process that played was ended from outside, perhaps for want of memory."
            raise BadInput(message, fix="Give fewer --workers.") from None
