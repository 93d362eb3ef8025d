"""The widths that a job declares: GPU counts with the throughput that each gives."""

import math
from collections.abc import Mapping

Widths = tuple[tuple[int, float], ...]
"""GPUs and throughput in any one unit, by ascending GPUs."""

WIDTHS_HELP = "write GPUs and throughput, for example {1: 1.0, 2: 1.9, 4: 3.4} or 1=1.0,2=1.9,4=3.4"
MOST_GPUS = 100_000
MOST_WIDTHS = 64
"""More are a generated mistake, and each is one more way to run that a plan has to weigh."""


def widths_of(value: object) -> Widths:
    """Declared widths from a mapping, from text such as ``1=1.0,2=1.9``, or from pairs.

    Throughput is in any unit: only the ratios count.

    Raises:
        ValueError: anything else, a width that is named twice, or a figure out of range.

    """
    found = sorted(_width(*pair) for pair in _pairs(value))
    if len({gpus for gpus, _ in found}) < len(found) or len(found) > MOST_WIDTHS:
        message = f"names a width twice, or more than {MOST_WIDTHS} of them; give each once"
        raise ValueError(message)
    return tuple(found)


def _pairs(value: object) -> list[tuple[object, object]]:
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",")]
        return [(gpus.strip(), throughput.strip()) for gpus, _, throughput in parts]
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list | tuple) and all(isinstance(one, list | tuple) and len(one) == 2 for one in value):  # noqa: PLR2004
        return [(gpus, throughput) for gpus, throughput in value]
    message = f"{str(value)[:80]!r} names no widths; {WIDTHS_HELP}"
    raise ValueError(message)


def _width(gpus: object, throughput: object) -> tuple[int, float]:
    """One width; JSON and flags have its figures as text."""
    try:
        count, rate = int(str(gpus)), math.nan if isinstance(throughput, bool) else float(str(throughput))
    except ValueError:
        count, rate = 0, math.nan
    if not (1 <= count <= MOST_GPUS and 0 < rate < math.inf):
        told = f"{str(gpus)[:20]}: {str(throughput)[:20]}"
        message = f"{told!r} is no width: expected 1 to {MOST_GPUS} GPUs and a throughput above 0; {WIDTHS_HELP}"
        raise ValueError(message)
    return count, rate
