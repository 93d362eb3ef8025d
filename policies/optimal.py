"""One plan for the whole queue like ``balanced``, solved by HiGHS: for queues that are small enough.

Source: ours; a mixed-integer linear program over a rolling horizon, solved anew with every plan. ``balanced`` plans
first. Its plan stands for everybody whom the program leaves alone: what nobody goes before, what is due, what cannot
move, what has data to bring, and what is beyond ``most_jobs`` or ``most_columns``, the least urgent first; those say
so. Beside them the program places the others at the least grams, nobody later than its time, or than ``balanced`` has
it. Only where somebody is late there does it first look for the least lateness, and then what is due takes part.

What it finds passes the same guard as every shift, job by job beside all others, and replaces the plan of ``balanced``
only where that is later, or emits more. So no plan is worse than that of ``balanced``, and with constant prices nothing
moves. There is no limit of time: nothing but the problem decides what is planned (INV-14).
"""

from dataclasses import replace

from pydantic import Field

from lowtide.policies.balanced import Balanced, pressure, sooner
from lowtide.policies.beside import Beside, late_in_all_s, less_of
from lowtide.policies.columns import Part
from lowtide.policies.linear import Effort
from lowtide.policies.offer import Offer
from lowtide.policies.problem import EPSILON_S, Choice, Placement, Problem
from lowtide.policies.program import Program
from lowtide.scheduler.model.units import S_PER_H

Plan = tuple[Choice, ...]
Members = list[int]
"""Numbers of requests, the most urgent first."""


class Optimal(Balanced):
    """Least carbon over the whole queue, by a mixed-integer linear program; beside it as ``balanced``.

    Attributes:
        most_jobs: so many jobs are placed by the program, the most urgent first; in [1, 2,000].
        most_late: the same where somebody is late, as to look for the least lateness takes long; in [1, 2,000].
        most_columns: of the program; jobs beyond are left as ``balanced`` has them; in [100, 2,000,000].
        gap: how much more than the least the program's plan may emit, as a share; in [0, 0.1].
        most_searched: a program of more columns is made whole part by part and not searched further, as that would
            take seconds; in [0, 2,000,000].
        most_nodes: linear programs that are solved in search of whole slots, before the best plan so far is taken;
            in [1, 1,000,000].

    """

    most_jobs: int = Field(default=200, ge=1, le=2_000)
    most_late: int = Field(default=6, ge=1, le=2_000)
    most_columns: int = Field(default=100_000, ge=100, le=2_000_000)
    gap: float = Field(default=0.02, ge=0.0, le=0.1)
    most_searched: int = Field(default=500, ge=0, le=2_000_000)
    most_nodes: int = Field(default=50, ge=1, le=1_000_000)

    def plan(self, problem: Problem) -> Plan:
        """Choose for every request; as ``balanced`` where that is as good."""
        usual = super().plan(problem)
        is_late = late_in_all_s(problem, usual) > 0
        able = [i for i in _by_urgency(problem) if _may_move(problem, usual[i], i, is_late=is_late)]
        members = self._few_enough(problem, able[: self.most_late if is_late else self.most_jobs])
        if not members:
            return usual
        found = self._found(problem, usual, members, is_late=is_late)
        if found is None:
            note = "as balanced places it; the program found no plan within its limits"
            return _noted(usual, set(able), note)
        note = f"as balanced places it; of {len(able)} jobs the {len(members)} most urgent are planned exactly"
        return _noted(less_of(problem, usual, found), set(able) - set(members), note)

    def _few_enough(self, problem: Problem, able: Members) -> Members:
        """The most urgent ones, as many as the program may hold."""
        found, columns = [], 0
        for i in able:
            request, grid = problem.requests[i], problem.grid
            slots = min(grid.slots_until(max(0.0, request.must_end_s)), grid.count) - grid.slot_at(request.release_s)
            columns += max(1, slots) * len(request.sites) * (2 if request.suspensions_left else 1)
            if columns > self.most_columns:
                break
            found.append(i)
        return found

    def _found(self, problem: Problem, usual: Plan, members: Members, *, is_late: bool) -> Plan | None:
        """The program's plan for the members, beside the usual one for the others; None where it finds none."""
        beside = Beside(problem, usual, set(members))
        margin_s = self.margin_h * S_PER_H * pressure(problem)
        parts = {}
        for i in members:
            part = _part(beside.offer(i), usual[i].chosen, margin_s, is_late=is_late)
            if part is None:
                beside.keep(i)
            else:
                parts[i] = part
        # What was kept has taken room since the first offers were made.
        fresh = [replace(part, offer=beside.offer(i)) for i, part in parts.items()]
        if not fresh:
            return usual
        program = Program(problem, beside.timeline, fresh, self._spare_gpus(problem))
        effort = Effort(self.gap, self.most_nodes, self.most_searched)
        if is_late:
            program.least_late(effort)
        placed = program.least_grams(effort)
        return None if placed is None else beside.settled(dict(zip(parts, placed, strict=True)))


def _by_urgency(problem: Problem) -> Members:
    """What is due and what runs first, each in order of slack."""
    requests = problem.requests
    return sorted(range(len(requests)), key=lambda i: (requests[i].latest_start_s, i))


def _may_move(problem: Problem, choice: Choice, i: int, *, is_late: bool) -> bool:
    """Whether the program may place a job anew; what is due and what ends within a slot only where somebody is late."""
    request, placed = problem.requests[i], choice.chosen
    if placed is None or request.is_foremost or (request.is_due and not is_late):
        return False
    if request.moves or request.modes or not request.power_w:  # the program knows none of it, and saves nothing else
        return False
    if request.running_at is None:
        return True
    is_brief = request.work_s <= problem.grid.slot_s and not is_late
    return request.suspensions_left > 0 and request.hold_s < request.work_s and not is_brief


def _part(offer: Offer, usual: Placement | None, margin_s: float, *, is_late: bool) -> Part | None:
    """A job of the program, by when it has to end where; None where it has to stay as it is.

    Where all are in time it ends by its time less the margin, or as the usual plan has it, within what is forecast.
    Where some are late the margin is theirs, and what may not wait for carbon takes part.
    """
    assert usual is not None  # noqa: S101 - only what is placed may move
    request, prices = offer.request, offer.problem.prices
    open_sites = offer.open_sites
    is_priced = bool(open_sites[usual.site]) and usual.end_s <= prices.known_until(usual.site) + EPSILON_S
    is_priced = is_priced and not request.is_due
    in_time = request if is_late else sooner(request, margin_s, offer.problem.grid.slot_s)
    end_s = max(in_time.must_end_s, usual.end_s)
    if not is_priced:
        return Part(offer, dict.fromkeys(request.sites, end_s), is_priced=False, usual=usual) if is_late else None
    ends_s = {site: min(end_s, prices.known_until(site)) for site in request.sites if open_sites[site]}
    return Part(offer, ends_s, is_priced=True, usual=usual)


def _noted(plan: Plan, numbers: set[int], note: str) -> Plan:
    return tuple(replace(choice, note=note) if i in numbers else choice for i, choice in enumerate(plan))
