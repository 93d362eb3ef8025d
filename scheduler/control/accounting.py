"""Keeps the ledger's energy: whole half hours while an attempt runs, the rest when it has ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, RowMapping

from lowtide.connectors.jobside.record import Report, Sample
from lowtide.scheduler.ledger import energy
from lowtide.scheduler.store import accounts
from lowtide.scheduler.store import tables as t


@dataclass(slots=True)
class _Heard:
    """What a live attempt has told that is not on record yet: its log may scroll, and its node may be lost."""

    start_wall_s: float | None = None
    by_value: dict[tuple[object, ...], Sample] = field(default_factory=dict)

    def hear(self, report: Report | None) -> None:
        if report is None:
            return
        if report.started is not None:
            self.start_wall_s = report.started.wall_s
        for sample in report.samples:
            self._add(sample)
        if report.ended is not None and report.ended.energy_j:  # the last line of all: no output comes after it
            self._add(Sample(report.ended.end_wall_s, report.ended.energy_j, report.ended.sources))

    def _add(self, sample: Sample) -> None:
        self.by_value[sample.wall_s, *sorted(sample.energy_j.items())] = sample

    def keep(self, is_news: Callable[[Sample], bool]) -> None:
        self.by_value = {value: sample for value, sample in self.by_value.items() if is_news(sample)}

    @property
    def sources(self) -> dict[str, tuple[str, str]]:
        return {component: how for sample in self.by_value.values() for component, how in sample.sources.items()}


class Accountant:
    """Writes energy rows while attempts run and when they end; every call may be repeated without effect."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        from_wall: Callable[[float], datetime],
        scale: float,
        power_w: Callable[[Connection, RowMapping], float],
    ) -> None:
        """Take the clock, its mapping from wall time, its rate as the scale, and the planning power of an attempt."""
        self._now, self._from_wall, self._scale, self._power_w = now, from_wall, scale, power_w
        self._heard: dict[str, _Heard] = {}

    def attempt(self, connection: Connection, row: RowMapping, report: Report | None) -> None:
        """Write the energy of an attempt as far as it is known: whole half hours while it lives, all at its end."""
        is_live = row["ended_at"] is None
        heard = self._heard.setdefault(row["id"], _Heard())
        heard.hear(report)
        booked = accounts.booked(connection, row["id"])
        found = self._metered(row, heard, booked)
        if is_live:
            heard.keep(lambda sample: self._is_news(sample, booked))
        else:
            del self._heard[row["id"]]
            if not found and not booked and row["started_at"] is not None:
                power_w = self._power_w(connection, row)
                found = energy.modelled_rows(row["id"], row["started_at"], row["ended_at"], power_w)
        accounts.insert_once(connection, t.energy, [_energy_values(r) for r in found])

    def _is_news(self, sample: Sample, booked: dict[str, tuple[datetime, int]]) -> bool:
        return any(j * self._scale * 1000 > booked.get(c, (None, 0))[1] for c, j in sample.energy_j.items())

    def _metered(
        self, row: RowMapping, heard: _Heard, booked: dict[str, tuple[datetime, int]]
    ) -> list[energy.EnergyRow]:
        start = row["started_at"] if heard.start_wall_s is None else self._from_wall(heard.start_wall_s)
        if start is None:
            return []
        samples = [energy.CumulativeSample(s.wall_s, s.energy_j) for s in heard.by_value.values()]
        found: list[energy.EnergyRow] = []
        for component, (source, quality) in heard.sources.items():
            at, energy_mj = booked.get(component, (start, 0))
            curve = energy.readings(
                samples,
                component,
                start=energy.Reading(at, energy_mj / 1000),
                until=row["ended_at"] or self._now(),
                from_wall=self._from_wall,
                scale=self._scale,
            )
            found += energy.rows(
                curve,
                attempt_id=row["id"],
                component=component,
                source=source,
                quality=quality,
                scale=self._scale,
                closed_only=row["ended_at"] is None,
            )
        return found


def _energy_values(row: energy.EnergyRow) -> dict[str, object]:
    return {
        "attempt_id": row.attempt_id,
        "component": row.component,
        "start_at": row.start,
        "end_at": row.end,
        "energy_mj": row.energy_mj,
        "source": row.source,
        "quality": row.quality,
        "scale": row.scale,
    }
