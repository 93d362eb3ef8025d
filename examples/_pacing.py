"""How long an example trains, where its data lie, and the line it ends with."""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from threadpoolctl import threadpool_limits


@dataclass(kw_only=True)
class Progress:
    """How far a run has come; each example adds what else must survive a suspension."""

    epoch: int = 0
    cpu_s: float = 0.0


class Reports(Protocol):
    """The one thing ``conclude`` needs of a checkpoint session."""

    def report(self, **numbers: float) -> None:
        """Hand finite numbers to the receipt."""


class Budget:
    """Enough is enough after ``epochs`` epochs or, without that number, after ``seconds`` of CPU time.

    A fixed number of epochs gives the same result on every run. With a time budget a faster machine
    trains for more epochs; time before a suspension counts, so that resuming adds no work.
    """

    def __init__(
        self, *, seconds: float, epochs: int | None = None, clock: Callable[[], float] = time.process_time
    ) -> None:
        """Start the clock; ``clock`` gives CPU seconds of this process."""
        self._seconds, self._epochs, self._clock = seconds, epochs, clock
        self._lap_s = clock()
        # One thread: the work is too small to share, sums keep their order, and neighbours keep their cores.
        self._threads = threadpool_limits(limits=1)

    def allows(self, progress: Progress) -> bool:
        """Whether one more epoch fits; the first always does."""
        if self._epochs is not None:
            return progress.epoch < self._epochs
        return progress.epoch == 0 or progress.cpu_s < self._seconds

    def book(self, progress: Progress) -> None:
        """Count one finished epoch and the CPU time since the last booking."""
        now_s = self._clock()
        progress.epoch += 1
        progress.cpu_s += now_s - self._lap_s
        self._lap_s = now_s


def budget(argv: Sequence[str] | None = None) -> Budget:
    """The budget that the command line asks for (``--seconds`` or ``--epochs``)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=_positive, default=8.0, help="train for about this much CPU time")
    parser.add_argument("--epochs", type=_whole, help="train for exactly this many epochs instead")
    options = parser.parse_args(argv)
    return Budget(seconds=options.seconds, epochs=options.epochs)


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        message = f"{text} is no positive number of seconds; give for example 8"
        raise argparse.ArgumentTypeError(message)
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        message = f"{text} is no number of epochs; give 1 or more"
        raise argparse.ArgumentTypeError(message)
    return value


def shipped(package: str, path: str) -> Path:
    """A data file inside an installed package, found without importing the package."""
    spec = find_spec(package)
    places = [Path(place) / path for place in (spec.submodule_search_locations or [])] if spec else []
    for place in places:
        if place.is_file():
            return place
    missing = "is not installed" if spec is None else f"no longer ships {path}"
    message = f"{package} {missing}, and this example reads its data from there; see the first lines of the script."
    raise SystemExit(message)


def conclude(session: Reports, value: float, *, metric: str, baseline: float) -> None:
    """Print the closing line and hand the figure to the receipt as ``accuracy``."""
    print(f"accuracy={value:.4f} metric={metric} baseline={baseline:.4f}")
    session.report(accuracy=value)
