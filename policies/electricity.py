"""What electricity costs, per site and slot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowtide.policies.timeline import Span
from lowtide.scheduler.model.units import kwh_per_s


@dataclass(frozen=True, slots=True, eq=False)
class Electricity:
    """Prices by the sites' tariffs.

    Attributes:
        edges_s: of the slots, in seconds after now.
        per_kwh: [site, slot], in the site's currency per kWh of work, PUE included; NaN where no tariff is known.
        currencies: [site], ISO 4217; empty where no tariff is known.

    """

    edges_s: NDArray[np.float64]
    per_kwh: NDArray[np.float64]
    currencies: tuple[str, ...]

    def money(self, site: int, spans: tuple[Span, ...], power_w: float) -> float:
        """What a constant power over spans costs; NaN where no tariff is known.

        Beyond the last edge the last slot's price goes on.
        """
        row, ends = self.per_kwh[site], np.array(spans)
        integral = np.concatenate(([0.0], np.cumsum(row * np.diff(self.edges_s))))
        beyond = np.maximum(ends - self.edges_s[-1], 0.0) * row[-1]
        until = np.interp(ends, self.edges_s, integral) + beyond
        return float((until[:, 1] - until[:, 0]).sum()) * kwh_per_s(power_w)
