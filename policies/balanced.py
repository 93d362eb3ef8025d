"""The default: one plan for the whole queue, under capacity, with room left for what is still to come.

Source: ours. Requests are served in groups, each in order of slack: what nobody goes before, what is due, what runs,
what waits. Each takes the cheapest slots that are left at any site, and in each of them the one of its modes, if it has
some, that is worth it. That makes it joint:

- Running jobs are planned with the others: they go on, pause now or pause later, whatever emits least.
- Of the capacity ahead a share stays free for work that is yet to be submitted, or else all that could wait would
  wait for the same clean hours, and what comes in between would be late. It grows with the distance:
  ``reserve`` · inflow · (1 - exp(-t / ``reserve_memory_h``)).
- Jobs are planned to end before their time, by ``margin_h`` where the load nears capacity, by less where it does not:
  what comes in between then finds somebody who can still move. A margin that has somebody late is given up.
- Jobs with modes pay for the capacity that they hold, by what it is worth to all others (see ``scarcity``): wide in
  the clean hours is who gains most by it. In the end each is placed anew in what the others leave, as long as that
  saves. A running job takes another width by a pause alone.
- A job that comes out late is served again as one that is due, among the running ones in order of slack: those with
  more of it make room, and what would be late as declared takes the modes that end first. If some still are, the last
  attempt goes by when each must end, which for one GPU and work that may be interrupted is the best order there is.

With constant prices it is ``asap``, but for jobs that have a mode which needs less energy for the same work. Its
distance from the optimum under a known future is printed by ``lowtide simulate --bound``.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lowtide.policies.holding import fits, give_back, sell
from lowtide.policies.lift import chosen_as, chosen_of
from lowtide.policies.moves import among
from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, Choice, IntArray, Placement, Problem, Request
from lowtide.policies.scarcity import Scarcity, scarcity
from lowtide.policies.timeline import Span
from lowtide.policies.wish import least, least_running, nothing, soonest
from lowtide.policies.worth import prices_of
from lowtide.scheduler.model.units import S_PER_H

Sell = Callable[[int, tuple[Span, ...], int, int, float], None]

ROUNDS = 4
"""How often late jobs are put before others at most; each round takes as long as the first."""

CALM_ROUNDS = 1
"""For so many of these late jobs still choose what emits least; after that, what ends first."""

FULL_LOAD = 0.95
"""From here on all of the margin is kept."""

IMPROVED, MOST_ANEW = 2, 1000
"""So many times jobs with modes are placed anew beside all others, in a long queue less often, so that no more are
placed than the second figure; what that gains falls off quickly, and it takes as long as placing them at first."""

FEW, STEEPS = 50, (2.0, 8.0)
"""A queue of so few jobs with modes is planned at prices of each steepness: between few jobs prices matter more, and
time less. At the first a use of half beyond capacity makes a GPU cost as much again as its grams usually do."""


class Balanced(BaseModel):
    """Least carbon over the whole queue, under capacity and deadlines.

    Attributes:
        reserve: share of the usual inflow of work that finds room at any time ahead, in [0, 1].
        reserve_memory_h: hours ahead after which two thirds of that share are kept free, in (0, 168].
        margin_h: hours before the end of a job's time by which it is planned to end, at full load, in [0, 24].

    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weighs_delay: ClassVar[bool] = True

    reserve: float = Field(default=0.35, ge=0.0, le=1.0)
    reserve_memory_h: float = Field(default=8.0, gt=0.0, le=168.0)
    margin_h: float = Field(default=2.0, ge=0.0, le=24.0)

    @property
    def is_joint(self) -> bool:
        """It is asked about running jobs together with waiting ones."""
        return True

    def plan(self, problem: Problem) -> tuple[Choice, ...]:
        """Choose for every request; a margin that has somebody late is given up."""
        margin_s, slot_s = self.margin_h * S_PER_H * pressure(problem), problem.grid.slot_s
        best = self._settled(
            replace(problem, requests=tuple(sooner(request, margin_s, slot_s) for request in problem.requests))
        )
        late_s = best.late_s(problem.requests)
        if late_s > 0 and margin_s >= slot_s:
            other = self._settled(problem)
            best = other if other.late_s(problem.requests) < late_s else best
        return tuple(best.choices[i] for i in range(len(problem.requests)))

    def _settled(self, problem: Problem) -> "_Round":
        """The best round in which nobody gives way who has nowhere to go."""
        asked, best = problem, self._best(problem)
        while best.stuck:  # who has nowhere to go stays, and was no room for others
            kept = tuple(replace(r, hold_s=r.work_s) if r in best.stuck else r for r in asked.requests)
            asked = replace(asked, requests=kept)
            best = self._best(asked)
        return best

    def _best(self, problem: Problem) -> "_Round":
        """The round in which the least time is late, and of those the one that emits least."""
        if not any(request.modes for request in problem.requests):
            return self._least_late(problem, None)
        priced = _priced(problem)
        found = [self._least_late(problem, scarce) for scarce in priced]
        if all(each.late for each in found):  # modes may then only save
            as_declared = (replace(r, modes=()) if _may_choose(r) else r for r in problem.requests)
            found.append(self._least_late(replace(problem, requests=tuple(as_declared)), None))
        if priced != [None]:
            for each in found:
                each.improve(problem)
        return min(found, key=lambda each: (each.lateness, each.emitted_g))

    def _least_late(self, problem: Problem, scarce: Scarcity | None) -> "_Round":
        """Round after round in which who was late comes first."""
        calm = replace(problem, requests=tuple(_nearly_done(r, problem.grid.slot_s) for r in problem.requests))
        due = frozenset(i for i, request in enumerate(problem.requests) if request.is_due)
        spare_gpus = self._spare_gpus(problem)
        best = last = _Round(calm, spare_gpus, due, scarce=scarce)
        for i in range(ROUNDS):
            if not last.late:
                break
            due |= last.late.keys()
            is_last = i == ROUNDS - 1
            asked = problem if is_last else calm
            last = _Round(asked, spare_gpus, due, is_calm=i < CALM_ROUNDS, is_by_end=is_last, scarce=scarce)
            if last.lateness < best.lateness:
                best = last
        return best

    def _spare_gpus(self, problem: Problem) -> IntArray | None:
        """[site, slot], GPUs that stay free for work to come; None where nothing is known of it."""
        if not any(problem.inflow_gpus) or not self.reserve:
            return None
        hours = problem.grid.edges_s[:-1] / S_PER_H
        ramp = self.reserve * (1 - np.exp(-hours / self.reserve_memory_h))
        return np.floor(np.array(problem.inflow_gpus)[:, None] * ramp).astype(np.int64)


def pressure(problem: Problem) -> float:
    """How long a queue remembers a burst at the usual load, 1 / (1 - √load)², relative to ``FULL_LOAD``; in [0, 1].

    Source: the relaxation time of the M/M/1 queue.
    """
    if not any(problem.inflow_gpus):
        return 0.0
    taken = np.array(problem.inflow_gpus) > 0  # a row that takes no inflow is no capacity, or the same once more
    capacity = float(problem.timeline.free_gpus[taken, -1].sum())
    load = min(FULL_LOAD, sum(problem.inflow_gpus) / max(1.0, capacity))
    return ((1 - math.sqrt(FULL_LOAD)) / (1 - math.sqrt(load))) ** 2


def sooner(request: Request, margin_s: float, slot_s: float) -> Request:
    """A request with less time, by whole slots and by half of its slack at most."""
    by_s = min(margin_s, max(0.0, request.latest_start_s - request.release_s) / 2) // slot_s * slot_s
    if by_s == 0:
        return request
    return replace(request, latest_start_s=request.latest_start_s - by_s, must_end_s=request.must_end_s - by_s)


def _nearly_done(request: Request, slot_s: float) -> Request:
    """A running job that ends within a slot is not worth stopping, unless somebody is late."""
    if request.running_at is None or request.work_s > slot_s:
        return request
    return replace(request, hold_s=request.work_s)


def _may_choose(request: Request) -> bool:
    """Whether a job may yet be placed in one of several modes."""
    return bool(request.modes) and request.running_at is None and not request.is_foremost


def _priced(problem: Problem) -> list[Scarcity | None]:
    """What capacity is worth, by how steeply it is priced; a small queue is planned at several prices, and at none."""
    first = scarcity(problem, STEEPS[0])
    if first is None or sum(map(_may_choose, problem.requests)) > FEW:
        return [first]
    return [first, *(scarcity(problem, steep) for steep in STEEPS[1:]), None]


def _late_s(choice: Choice, request: Request) -> float:
    """How much later than it should a request would end; without a place, by its whole length."""
    if choice.chosen is None:
        return request.length_s
    late_s = choice.chosen.end_s - request.must_end_s
    return late_s if late_s > EPSILON_S else 0.0


def _urgency(request: Request, *, is_by_end: bool) -> tuple[float, ...]:
    """The order of what is due and what runs: the foremost as they come, then by slack, or by when they must end."""
    if request.is_foremost:
        return (0,)
    if is_by_end:
        return 1, request.must_end_s, request.latest_start_s
    return 1 if request.is_due else 2, request.latest_start_s, request.must_end_s


class _Round:
    """One plan in which the jobs of ``due`` come before the others.

    Attributes:
        choices: by number of the request.
        late: by how many seconds requests end later than they should, weighted by GPUs; only those that do.
        stuck: running requests whose place was taken though they find no other.
        keeps_on: whether a running request would come too late to be let go, so that it keeps the place of others.

    """

    def __init__(
        self,
        problem: Problem,
        spare_gpus: IntArray | None,
        due: frozenset[int],
        *,
        is_calm: bool = True,
        is_by_end: bool = False,
        scarce: Scarcity | None = None,
    ) -> None:
        """Serve everybody; in a round that is not calm the due take what ends first, ``is_by_end`` in that order."""
        self._problem, self._spare_gpus, self._is_calm = problem, spare_gpus, is_calm
        self._scarce = scarce
        self._timeline, self._undisturbed = problem.timeline.copy(), problem.timeline.copy()
        self.choices: dict[int, Choice] = {}
        self.late: dict[int, float] = {}
        self.stuck: set[Request] = set()
        self.keeps_on = False
        requests = problem.requests
        for request in requests:
            self._hold(request, self._timeline.sell)
            if request.running_at is not None:
                self._undisturbed.sell(request.running_at, ((0.0, request.work_s),), *request.need)
        first = [i for i, request in enumerate(requests) if i in due or request.running_at is not None]
        for i in sorted(first, key=lambda i: _urgency(requests[i], is_by_end=is_by_end)):
            self._take(i, self._in_need(requests[i]) if requests[i].running_at is None else self._going_on(requests[i]))
        for i, request in enumerate(requests):
            if i not in self.choices:
                self._take(i, among(request, prices_of(problem, request), self._at_ease))

    def late_s(self, requests: tuple[Request, ...]) -> float:
        """By how many seconds requests, as they were first asked about, end late; weighted by GPUs."""
        late = ((_late_s(self.choices[i], request), max(1, request.gpus)) for i, request in enumerate(requests))
        return sum(late_s * weight for late_s, weight in late)

    @property
    def lateness(self) -> tuple[bool, float]:
        """How late requests are in all; the worst are rounds that cannot be had."""
        return self.keeps_on, sum(self.late.values())

    @property
    def emitted_g(self) -> float:
        """What is known of it."""
        costs = (choice.chosen.cost_g for choice in self.choices.values() if choice.chosen is not None)
        return math.fsum(cost_g for cost_g in costs if not math.isnan(cost_g))

    def improve(self, problem: Problem) -> None:
        """Place those anew, one by one beside all others, who may choose among modes, as long as that saves."""
        self._problem, self._scarce = problem, None  # what is left is nobody's
        for _ in range(min(IMPROVED, MOST_ANEW // max(1, sum(map(_may_choose, problem.requests))))):
            if not self._has_saved():
                break

    def _has_saved(self) -> bool:
        problem, has_saved = self._problem, False
        for i, request in enumerate(problem.requests):
            before = self.choices[i].chosen
            if before is None or not _may_choose(request) or request.is_due:
                continue
            give_back(self._timeline, request, before)
            choice = among(request, prices_of(problem, request), self._at_ease)
            if choice.chosen is None or choice.chosen.cost_g >= before.cost_g or _late_s(choice, request) > 0:
                sell(self._timeline, request, before)
            else:
                self.late.pop(i, None)
                self._take(i, choice)
                has_saved = True
        return has_saved

    def _in_need(self, request: Request) -> Choice:
        """Where running jobs need not move if that is in time, else in their place."""
        is_soonest = request.is_due or not self._is_calm
        choice = among(request, prices_of(self._problem, request), self._needed, is_soonest=is_soonest)
        if choice.chosen is not None:
            sell(self._undisturbed, request, choice.chosen)
        return choice

    def _needed(self, request: Request) -> Choice:
        choice = self._of_due(Offer(self._problem, self._undisturbed, request))
        return choice if self._is_had(choice, request) else self._of_due(Offer(self._problem, self._timeline, request))

    def _is_had(self, choice: Choice, request: Request) -> bool:
        """Whether a choice made beside the running jobs is in time, and still free."""
        placed = choice.chosen
        if placed is None or _late_s(choice, request) > 0:
            return False
        if request.is_due and placed.start_s > request.release_s + EPSILON_S:
            return False
        return fits(self._timeline, request, placed)

    def _of_due(self, offer: Offer) -> Choice:
        if offer.request.is_due or not self._is_calm:
            placed = soonest(offer)
            return replace(chosen_of(offer, nothing), chosen=placed, best=placed)
        return chosen_of(offer, self._least)

    def _least(self, offer: Offer) -> Placement | None:
        return least(offer, self._scarce)

    def _least_running(self, offer: Offer) -> Placement | None:
        return least_running(offer, self._scarce)

    def _take(self, i: int, choice: Choice) -> None:
        request, placed = self._problem.requests[i], choice.chosen
        self.choices[i] = choice
        if placed is not None:
            sell(self._timeline, request, placed)
        late_s = _late_s(choice, request)
        if late_s > 0:
            self.late[i] = late_s * max(1, request.gpus)

    def _at_ease(self, request: Request) -> Choice:
        """What emits least, leaving as much room for work to come as can be."""
        offer = Offer(self._problem, self._timeline, request)
        if offer.baseline is None or not offer.is_open:
            return Choice(offer.baseline, offer.baseline)
        for eased in self._eased(offer):
            best = self._least(eased)
            if best is not None:
                return chosen_as(eased, best, self._least)
        return Choice(offer.baseline, offer.baseline)

    def _eased(self, offer: Offer) -> Iterator[Offer]:
        """The offer less some capacity for work to come, then all of it."""
        if self._spare_gpus is not None:
            yield offer.sparing(self._spare_gpus)
        yield offer

    def _going_on(self, request: Request) -> Choice:
        """Going on as it is, unless a pause emits less or somebody more urgent needs the place."""
        self._hold(request, self._timeline.give_back)
        offer = Offer(self._problem, self._timeline, request)
        held = offer.baseline
        if held is None or self._timeline.fits(held.site, held.spans, *request.need):
            return chosen_of(offer, self._least_running if self._is_calm else nothing)
        placed = self._least_running(offer) or self._afterwards(offer)
        self.keeps_on |= placed is not None and placed.start_s > request.latest_start_s + request.switch_s + EPSILON_S
        if placed is None and request.hold_s < request.work_s:
            self.stuck.add(request)
        return replace(chosen_of(offer, nothing), chosen=placed or held, best=placed, gives_way=placed is not None)

    def _hold(self, request: Request, change: Sell) -> None:
        """Sell, or give back, what a running job goes on to hold whatever happens."""
        if request.running_at is not None and request.hold_s > 0:
            held_s = min(request.hold_s, request.work_s)
            change(request.running_at, ((0.0, held_s),), *request.need)

    def _afterwards(self, offer: Offer) -> Placement | None:
        """What is left of the least stretch, and the rest in the first window after it; None where there is none."""
        request = offer.request
        if request.hold_s <= 0:
            return offer.earliest_window()
        rest_s = request.work_s - request.hold_s
        if rest_s <= 0:
            return None
        rest = replace(request, running_at=None, work_s=rest_s, release_s=request.hold_s)
        after = Offer(self._problem, self._timeline, rest).earliest_window()
        if after is None or after.start_s <= request.hold_s + EPSILON_S:
            return None  # no pause at all
        return offer.placed(after.site, ((0.0, request.hold_s), *after.spans))
