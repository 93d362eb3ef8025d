"""How errors of one forecast go together over time: what makes a difference surer than its two ends.

Errors of two slots a gap g apart have the covariance  std² / 2 · exp(-g / memory),  so that they differ by the variance
std² (1 - exp(-g / memory)): by nothing where they meet, by std² in the end. Integrals over stretches of time follow in
closed form, and no placement can come out with a variance below zero.
"""

import math
from dataclasses import dataclass

Stretch = tuple[float, float]
"""Start and end, in any one unit of time."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two numbers that describe it for one forecast.

    Attributes:
        std_g_per_kwh: standard deviation of the difference of two errors that lie far apart.
        memory_s: after so long a gap the covariance has fallen to 37 %.

    """

    std_g_per_kwh: float
    memory_s: float

    def std_over(self, ours: tuple[Stretch, ...], theirs: tuple[Stretch, ...]) -> float:
        """The standard deviation of (integral over ours - integral over theirs), in g/kWh·s for stretches in s."""
        signed = [(1.0, a, b) for a, b in ours] + [(-1.0, a, b) for a, b in theirs]
        total = 0.0
        for i, (sign, a, b) in enumerate(signed):
            total += joint((a, b), (a, b), self.memory_s)
            for other, c, d in signed[:i]:
                total += 2 * sign * other * joint((a, b), (c, d), self.memory_s)
        return self.std_g_per_kwh * math.sqrt(max(0.0, total) / 2)


def joint(ours: Stretch, theirs: Stretch, memory: float) -> float:
    """The integral of exp(-|s - t| / memory) over s in ours and t in theirs."""
    (a, b), (c, d) = ours, theirs
    return (
        _twice(abs(d - a), memory)
        - _twice(abs(d - b), memory)
        - _twice(abs(c - a), memory)
        + _twice(abs(c - b), memory)
    )


def _twice(x: float, memory: float) -> float:
    """exp(-x / memory) integrated twice from 0, for x >= 0."""
    return memory * (x + memory * math.expm1(-x / memory))
