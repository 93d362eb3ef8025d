"""One way in which a job can run: how wide, how hard, and what that gives."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mode:
    """A width of an elastic job, or a power limit of a throttleable one.

    Attributes:
        gpus: whole GPUs held.
        cpus: CPUs held.
        speed: seconds of work done per second, where the way that the job declares does one; above 0.
        power_w: drawn by the whole job, at least 0.
        power_fraction: the limit set on each of its GPUs as a share of the full one, in (0, 1].

    Raises:
        ValueError: a figure outside its range.

    """

    gpus: int
    cpus: int
    speed: float
    power_w: float
    power_fraction: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what no program could run as."""
        works = 0 < self.speed < math.inf and 0 <= self.power_w < math.inf and 0 < self.power_fraction <= 1
        if self.gpus < 0 or self.cpus < 0 or not works:
            raise ValueError(
                f"{self} is no way to run: expected a speed above 0, at least 0 W, GPUs and CPUs of at least 0 "
                "and a power fraction above 0 and up to 1; correct the job's profile."
            )
