"""Without the opt-in of every site of a zone, no decision ever rests on a climatology (INV-11)."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.control.gridwatch import GridWatch, ZoneState
from lowtide.scheduler.control.sites import SiteRuntime
from lowtide.scheduler.forecast.ladder import Rung
from lowtide.scheduler.forecast.learn import CLIMATOLOGY, Learned, Skill
from lowtide.scheduler.settings import SiteSettings
from tests.unit.test_ladder import HOUR, NOON, SLOT_S, STATIC, a_history, a_series

CAPTURED = st.sampled_from([float("nan"), -0.5, 0.0, 0.2, 0.9])


@st.composite
def a_zone(draw: st.DrawFn) -> tuple[GridWatch, list[bool], float]:
    """A zone of one to three sites, each with its word, and figures of any age or none."""
    clock: Any = SimpleNamespace(now=lambda: NOON)
    watch, no_cluster = GridWatch((), clock), None
    words = draw(st.lists(st.booleans(), min_size=1, max_size=3))
    stub: Any = no_cluster
    settings = [SiteSettings(name=f"s{i}", zone="GB", climatology=said) for i, said in enumerate(words)]
    watch.follow([SiteRuntime(s, s.site(), stub) for s in settings])
    end = NOON - draw(st.integers(0, 20 * 24)) * HOUR
    issued = NOON - draw(st.integers(0, 60)) * HOUR
    forecast = a_series(issued, draw(st.integers(0, 96)), fetched_at=issued, issued_at=issued)
    watch.zones["GB"] = ZoneState(
        "GB",
        actual=draw(st.sampled_from([None, a_history(draw(st.integers(1, 16)), end=end)])),
        forecast=draw(st.sampled_from([None, None, forecast])),
        static=draw(st.sampled_from([None, STATIC])),
    )
    captured = draw(CAPTURED)
    skill = Skill(CLIMATOLOGY.correction, CLIMATOLOGY.bands, captured=captured, moments=100)
    watch.foresight.of("GB").learned = Learned(climatology=skill)
    return watch, words, captured


@given(found=a_zone(), hours=st.integers(0, 400))
def test_inv11_without_the_opt_in_no_decision_ever_rests_on_a_climatology(
    found: tuple[GridWatch, list[bool], float], hours: int
) -> None:
    watch, words, captured = found
    told = watch.forecasts(NOON + timedelta(hours=hours), SLOT_S)["GB"]
    if told.rung == Rung.CLIMATOLOGY:
        assert all(words)
        assert told.may_shift == (captured > 0)
        history = watch.zones["GB"].actual
        assert history is not None
        meaning = {name: str(getattr(history.key, name)) for name in ("source", "signal", "basis", "accounting")}
        assert {name: told.provenance[name] for name in meaning} == meaning
    elif told.rung in {Rung.STATIC_AVERAGE, Rung.BLIND}:
        assert not told.may_shift
