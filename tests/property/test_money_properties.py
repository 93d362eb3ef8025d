"""Whatever money is worth, plans stay sound; where no tariff or no worth is, nothing changes."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lowtide.scheduler.decide.decide import decide
from lowtide.scheduler.decide.explain import plan_to_json
from lowtide.scheduler.model.plan import Action, Plan, Snapshot
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.tariff import Rate, Tariff
from tests.property.test_decide_properties import FEW, FEWER, held, snapshots

EVERY_DAY = tuple(range(7))
PRICES = st.integers(0, 60).map(lambda cents: cents / 100)
WEIGHED = frozenset({ReasonCode.CARBON_WINDOW, ReasonCode.CHEAP_WINDOW})


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """Two rates by the time of day."""
    begin, end = draw(st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True))
    rates = Rate(begin, end, EVERY_DAY, draw(PRICES)), Rate(end, begin, EVERY_DAY, draw(PRICES))
    return Tariff(draw(st.sampled_from(["EUR", "EUR", "GBP"])), draw(st.sampled_from(["UTC", "Europe/Berlin"])), rates)


def charged(snapshot: Snapshot, tariffs: list[Tariff | None], worth_g: float) -> Snapshot:
    """The same with a tariff at each site, and a unit of money worth so much in every queue."""
    pairs = zip(snapshot.sites, tariffs, strict=True)
    sites = tuple(replace(view, site=replace(view.site, tariff=tariff)) for view, tariff in pairs)
    queues = {name: replace(queue, money_g_per_unit=worth_g) for name, queue in snapshot.queues.items()}
    return replace(snapshot, sites=sites, queues=queues)


def without_costs(plan: Plan) -> str:
    """The plan in bytes, but for what its candidates cost."""
    decisions = tuple(
        replace(d, candidates=tuple(replace(c, cost=None, currency="") for c in d.candidates)) for d in plan.decisions
    )
    return plan_to_json(replace(plan, decisions=decisions))


@given(snapshots(), st.lists(st.none() | tariffs(), min_size=2, max_size=2), st.sampled_from([1.0, 500.0, 1e6]))
@FEW
def test_inv_07_and_inv_10_hold_whatever_money_is_worth(
    snapshot: Snapshot, own: list[Tariff | None], worth_g: float
) -> None:
    plan = decide(charged(snapshot, own, worth_g))
    rows = held(plan, snapshot)
    for site in snapshot.sites:
        mine = rows[site.site.name]
        for moment in {start for start, _, _, _ in mine}:
            assert sum(gpus for start, end, gpus, _ in mine if start <= moment < end) <= site.site.gpus
    for view, decision in zip(snapshot.jobs, plan.decisions, strict=True):
        if decision.reason.code in WEIGHED and decision.chosen is not None and decision.action is Action.WAIT:
            assert decision.chosen.finish <= view.latest_finish_at
        assert decision.reason.sentence
    assert not plan.failures


@given(snapshots(), tariffs(), tariffs())
@FEWER
def test_a_tariff_to_which_nothing_is_worth_anything_changes_no_byte_of_a_plan(
    snapshot: Snapshot, first: Tariff, second: Tariff
) -> None:
    assert without_costs(decide(charged(snapshot, [first, second], 0.0))) == plan_to_json(decide(snapshot))


@given(snapshots(), tariffs(), st.sampled_from([2.0, 4.0, 0.5]))
@FEWER
def test_prices_so_many_times_as_high_and_worth_so_much_less_are_the_same_plan(
    snapshot: Snapshot, own: Tariff, times: float
) -> None:
    """By powers of two, which round nothing."""
    more = replace(own, rates=tuple(replace(rate, per_kwh=rate.per_kwh * times) for rate in own.rates))
    once = decide(charged(snapshot, [own, own], 256.0))
    again = decide(charged(snapshot, [more, more], 256.0 / times))
    for ours, theirs in zip(once.decisions, again.decisions, strict=True):
        assert ours.action == theirs.action
        assert (ours.chosen is None) == (theirs.chosen is None)
        if ours.chosen is not None and theirs.chosen is not None:
            assert ours.chosen.segments == theirs.chosen.segments
