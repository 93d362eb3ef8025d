"""Energy survives any clock, any loss and any repetition of samples."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.ledger import energy
from lowtide.scheduler.model.units import from_timestamp

START = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
NOW = START + timedelta(days=2)


@st.composite
def told(draw: st.DrawFn) -> list[energy.CumulativeSample]:
    """Samples every half minute under a clock that is set now and then; some lost, some told again, in any order."""
    joules = draw(st.lists(st.integers(0, 100_000), min_size=1, max_size=60))
    jumps = draw(st.dictionaries(st.integers(0, 59), st.integers(-90_000, 90_000), max_size=4))
    samples, total_j, offset_s = [], 0.0, 0
    for index, more_j in enumerate(joules):
        total_j += more_j / 8
        offset_s += jumps.get(index, 0)
        wall_s = START.timestamp() + 30.0 * (index + 1) + offset_s
        samples.append(energy.CumulativeSample(wall_s, {"cpu": total_j}))
    copies = draw(st.lists(st.integers(0, 3), min_size=len(samples), max_size=len(samples)))
    kept = [sample for sample, count in zip(samples[:-1], copies, strict=False) for _ in range(count)]
    return list(draw(st.permutations([*kept, samples[-1]])))


def rows_from(samples: list[energy.CumulativeSample], start: energy.Reading) -> list[energy.EnergyRow]:
    curve = energy.readings(samples, "cpu", start=start, until=NOW, from_wall=from_timestamp, scale=1.0)
    return energy.rows(curve, attempt_id="a", component="cpu", source="rapl", quality="measured")


@given(told())
def test_inv15_energy_is_the_last_value_less_the_first_whatever_the_clock_did(
    samples: list[energy.CumulativeSample],
) -> None:
    rows = rows_from(samples, energy.Reading(START, 0.0))
    assert sum(r.energy_mj for r in rows) == round(max(s.energy_j["cpu"] for s in samples) * 1000)
    assert all(r.energy_mj >= 0 and r.start < r.end for r in rows)
    assert all(earlier.end == later.start for earlier, later in itertools.pairwise(rows))


@given(told(), st.integers(0, 60), st.data())
def test_inv16_what_is_on_record_is_never_counted_again(
    samples: list[energy.CumulativeSample], cut: int, data: st.DataObject
) -> None:
    early = rows_from(samples[:cut], energy.Reading(START, 0.0))
    early = early[: data.draw(st.integers(0, len(early)))]
    booked_mj = sum(r.energy_mj for r in early)
    start = energy.Reading(early[-1].end if early else START, booked_mj / 1000)
    late = rows_from(samples, start)
    whole_mj = round(max(s.energy_j["cpu"] for s in samples) * 1000)
    assert booked_mj + sum(r.energy_mj for r in late) == whole_mj
