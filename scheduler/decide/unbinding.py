"""What would change the decision about one job: sentences that go on from "it would start now if" and the like."""

from collections.abc import Iterator

from lowtide.policies.lift import margin_g
from lowtide.policies.pieces import cheapest_pieces
from lowtide.policies.problem import EPSILON_S
from lowtide.scheduler.decide.case import Case, barred
from lowtide.scheduler.decide.rows import read
from lowtide.scheduler.decide.urgency import is_clinical
from lowtide.scheduler.decide.wording import percent, when
from lowtide.scheduler.model.plan import Action
from lowtide.scheduler.model.reason import ReasonCode
from lowtide.scheduler.model.units import kwh_per_s

MOST_SITES = 3
"""More names than this nobody reads."""


def unbinding(case: Case) -> tuple[str, ...]:
    """What would make a waiting job start now, besides what its decision says already."""
    if case.decision.action is not Action.WAIT:
        return ()
    code = case.decision.reason.code
    found = tuple(_by_reason(case, code))
    return found if code in {ReasonCode.HELD, ReasonCode.SUSPENDED_BY_USER} else (*found, *_elsewhere(case))


def _by_reason(case: Case, code: ReasonCode) -> Iterator[str]:
    job_id = case.asker.view.job_id
    if code is ReasonCode.HELD:
        yield f"lowtide release {job_id}"
    elif code is ReasonCode.SUSPENDED_BY_USER:
        yield f"lowtide resume {job_id}"
    elif code is ReasonCode.SITE_UNREACHABLE:
        yield f"{case.decision.reason.facts['site']} answered"
    elif code is ReasonCode.NO_SITE:
        yield f"it asked for {case.decision.reason.facts['offer']} at most"
    elif code is ReasonCode.CARBON_WINDOW:
        yield from _by_guard(case)
    elif code is ReasonCode.CAPACITY:
        yield from _by_room(case)


def _by_guard(case: Case) -> Iterator[str]:
    """The least saving from which on its wait would not be worth it."""
    share = percent(case.decision.saving_g, case.decision.baseline_g)
    if share > 0:
        asked = 100 * case.asker.queue.min_savings
        yield f"its queue asked for savings of {share:.0f} % or more; it asks for {asked:.0f} %"


def _by_room(case: Case) -> Iterator[str]:
    soonest = case.offer(case.empty).baseline
    if soonest is not None and soonest.start_s <= EPSILON_S and (missing := case.missing(soonest)):
        yield f"{missing} more became free at {case.span_of(soonest)['site']} now"


def _elsewhere(case: Case) -> Iterator[str]:
    """Sites that could run it now, were they allowed."""
    able = [site for site in barred(case) if case.here.has_now(site, *case.request.need)]
    for site in able[:MOST_SITES]:
        one = case.snapshot.sites[site].site
        lies = f"in {one.jurisdiction}, " if one.jurisdiction else ""
        yield f"it were allowed {lies}at {read(one.name)}, where there is room now"


def suspending(case: Case) -> tuple[str, ...]:
    """What would have a running job pause."""
    view = case.asker.view
    told = () if is_clinical(view, case.asker.queue) else tuple(_by_rise(case))
    return (*told, f"lowtide suspend {view.job_id}")


def _by_rise(case: Case) -> Iterator[str]:
    """How much dirtier the hours until a pause ends would have to be, where a pause is possible at all."""
    if case.decision.action is Action.SUSPEND or not case.request.suspensions_left:
        return
    offer = case.offer(case.left)
    placed, going_on = cheapest_pieces(offer), offer.baseline
    if placed is None or going_on is None or placed.start_s <= EPSILON_S:
        return
    saving_g, _, bar = margin_g(offer, placed, going_on)
    idle_kwh = kwh_per_s(case.request.power_w) * min(placed.start_s, going_on.end_s)
    pue = case.snapshot.sites[placed.site].site.pue
    if idle_kwh > 0 and bar > saving_g:
        rise = (bar - saving_g) / idle_kwh / pue
        until = when(case.here.grid.at(placed.start_s))
        yield f"the forecast until {until} rose by more than {rise:.0f} g/kWh"
