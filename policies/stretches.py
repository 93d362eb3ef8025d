"""The cheapest stretches of slots that hold a job, over all its sites at once: the planner's inner loop, compiled.

At each site the cheapest slots with room are the least that any answer can cost. Where they keep the bounds (so many
stretches, none too short, no time lost by a pause) they are the answer; else the answer is searched for, site by site,
as long as a site could still win.

The search asks what work is worth: at ``worth`` g/kWh each slot gains (worth - price) · width, each further stretch
loses worth · ``switch_s``, and the stretches of most gain follow from a dynamic program over the slots. Of two answers,
one that holds less than the work and one that holds more, the slope between them is the worth to try next. In the end
the one grows at its cheapest edges until it holds the work, the other gives up what is dearest, and the cheaper is it.
"""

import math
from typing import NamedTuple

import numpy as np

from lowtide.policies.compiled import compiled
from lowtide.policies.offer import TIE
from lowtide.policies.problem import EPSILON_S, BoolArray, FloatArray, IntArray, MarkArray

MOST_SEARCHED = 3
"""At so many sites stretches are searched for; what lies fourth by its bound seldom wins."""

MOST_STRETCHES = 32
"""A search looks at no more; what needs more of them keeps its bounds by chance or not at all."""

MOST_TRIED = 40
"""So many values of work; five or so do."""

MOST_WORTH = 1e4
"""So many times the highest price, nothing but the amount of work counts."""

FIRST_WORTH = 1.1
"""So many times the dearest of the cheapest slots is tried first: what keeps the bounds costs somewhat more."""

NONE, TOO_SHORT = -1, -2

CONTINUED, BEGAN, BEGAN_FIRST, BEGUN = 0, 1, 2, 3
"""How a stretch came to a slot: it went on, it began a block of slots ago, or with the first slot of all; the mask."""

PAUSED = 4
"""A bit beside these: where no stretch runs, the last one ended here."""


class Asked(NamedTuple):
    """What is asked for one job.

    Attributes:
        need_s: run time needed in one stretch.
        switch_s: run time lost by each further one.
        hold: so many slots from the first on have to be used, all of them where the work does not end in them; 0 where
            the job may begin later.
        first_run_s: the shortest stretch from the first slot on, where ``hold`` is not 0.
        min_run_s: the shortest other stretch; one alone is as long as it is.
        most: how many stretches there may be.

    """

    need_s: float
    switch_s: float
    hold: int
    first_run_s: float
    min_run_s: float
    most: int


class Cut(NamedTuple):
    """What becomes of marked slots that hold more than the work.

    Attributes:
        cost: what is left of their price integral, in g/kWh·s; infinite where they hold too little or break a bound.
        edge: the slot that is used in part only.
        at_begin: whether it is its begin that is left out.
        by_s: how much is left out.

    """

    cost: float
    edge: int
    at_begin: bool
    by_s: float


class Usable(NamedTuple):
    """The slots of one site that a job may use, in time order.

    Attributes:
        price: [slot], g/kWh times PUE.
        width_s: [slot], how much of each may be used: less than a whole one where now or a release lies within it.
        room: [slot], whether there is room.

    """

    price: FloatArray
    width_s: FloatArray
    room: BoolArray


@compiled
def _take_cheapest(usable: Usable, order: IntArray, low: int, asked: Asked, taken: BoolArray) -> float:
    """Mark the cheapest slots that hold the work; the least that it can cost in g/kWh·s, infinite where it cannot."""
    count, have_s, cost, dearest = len(taken), 0.0, 0.0, 0
    taken[:] = False
    if asked.hold > count or not usable.room[: asked.hold].all():
        return math.inf
    for slot in range(asked.hold):
        taken[slot] = True
        have_s += usable.width_s[slot]
        cost += usable.price[slot] * usable.width_s[slot]
        dearest = slot
    for number in order:
        slot = number - low
        if have_s >= asked.need_s - EPSILON_S:
            break
        if 0 <= slot < count and usable.room[slot] and not taken[slot]:
            taken[slot] = True
            have_s += usable.width_s[slot]
            cost += usable.price[slot] * usable.width_s[slot]
            dearest = slot
    if have_s < asked.need_s - EPSILON_S:
        return math.inf
    return float(cost - max(0.0, have_s - asked.need_s) * usable.price[dearest])


@compiled
def _have_s(usable: Usable, asked: Asked, taken: BoolArray) -> tuple[float, float, int]:
    """The work that marked slots hold without what pauses lose, their price integral, and how many stretches."""
    count, have_s, cost = 0, 0.0, 0.0
    for slot in range(len(taken)):
        if taken[slot]:
            have_s += usable.width_s[slot]
            cost += usable.price[slot] * usable.width_s[slot]
            if slot == 0 or not taken[slot - 1]:
                count += 1
    return have_s - asked.switch_s * max(0, count - 1), cost, count


class Runs(NamedTuple):
    """The marked stretches in time order; only the first ``count`` of each array count.

    Attributes:
        begin: the first slot of each.
        end: the slot after its last.
        length_s: how long it is.
        cost: its price integral, in g/kWh·s.

    """

    begin: IntArray
    end: IntArray
    length_s: FloatArray
    cost: FloatArray


@compiled
def _runs(usable: Usable, taken: BoolArray, count: int) -> Runs:
    """The stretches of marked slots, of which there are ``count``."""
    runs = Runs(np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64), np.zeros(count), np.zeros(count))
    number = -1
    for slot in range(len(taken)):
        if taken[slot]:
            if slot == 0 or not taken[slot - 1]:
                number += 1
                runs.begin[number] = slot
            runs.end[number] = slot + 1
            runs.length_s[number] += usable.width_s[slot]
            runs.cost[number] += usable.price[slot] * usable.width_s[slot]
    return runs


@compiled
def _least_s(begin: int, count: int, asked: Asked) -> float:
    """The shortest that a stretch may be."""
    if count == 1:
        return 0.0
    return asked.first_run_s if begin == 0 and asked.hold > 0 else asked.min_run_s


@compiled
def _edge(usable: Usable, asked: Asked, runs: Runs, count: int, spare_s: float, part_s: float) -> tuple[int, bool]:
    """The stretch with the dearest edge slot that can be spared, or shortened by ``part_s`` if that is not 0.

    Of equals the latest, and whether it is its begin; ``NONE``, or ``TOO_SHORT`` where a stretch is too short as it is.
    """
    best, is_begin, dearest = NONE, False, -math.inf
    for number in range(count):
        begin, slot, length_s = runs.begin[number], runs.end[number] - 1, runs.length_s[number]
        least_s = max(_least_s(begin, count, asked), EPSILON_S)
        if length_s < least_s - EPSILON_S:
            return TOO_SHORT, False
        for edge, at_begin in ((begin, True), (slot, False)):
            width_s = usable.width_s[edge]
            off_s = width_s if part_s == 0 else part_s
            is_held = edge < asked.hold and (at_begin or part_s == 0 or count > 1)
            if is_held or off_s > min(spare_s, width_s) + EPSILON_S:
                continue
            if length_s - off_s >= least_s - EPSILON_S and usable.price[edge] >= dearest * (1 - TIE):
                best, is_begin, dearest = number, at_begin, usable.price[edge]
    return best, is_begin


@compiled
def _edge_slot(runs: Runs, number: int, at_begin: bool) -> int:  # noqa: FBT001 - compiled code takes no keywords
    """The first or the last slot of a stretch."""
    return int(runs.begin[number] if at_begin else runs.end[number] - 1)


@compiled
def _shortened(usable: Usable, runs: Runs, number: int, at_begin: bool, taken: BoolArray) -> float:  # noqa: FBT001
    """Unmark the first or the last slot of a stretch; its width."""
    slot = _edge_slot(runs, number, at_begin)
    taken[slot] = False
    if at_begin:
        runs.begin[number] += 1
    else:
        runs.end[number] -= 1
    runs.length_s[number] -= usable.width_s[slot]
    runs.cost[number] -= usable.price[slot] * usable.width_s[slot]
    return float(usable.width_s[slot])


@compiled
def _spare(asked: Asked, runs: Runs, count: int, spare_s: float) -> int:
    """The dearest stretch that is not needed, of equals the latest; ``NONE`` where every one is."""
    worst, found = -math.inf, NONE
    for number in range(count):
        length_s, cost = runs.length_s[number], runs.cost[number]
        is_spare = length_s <= spare_s + asked.switch_s + EPSILON_S and runs.begin[number] >= asked.hold
        if is_spare and cost >= worst * length_s:
            worst, found = cost / length_s, number
    return found


@compiled
def _left_out(runs: Runs, number: int, count: int, taken: BoolArray) -> float:
    """Unmark a stretch; its length. Those after it move up."""
    taken[runs.begin[number] : runs.end[number]] = False
    length_s = runs.length_s[number]
    for array in (runs.begin, runs.end):
        array[number : count - 1] = array[number + 1 : count].copy()
    for figures in (runs.length_s, runs.cost):
        figures[number : count - 1] = figures[number + 1 : count].copy()
    return float(length_s)


@compiled
def _settled(usable: Usable, asked: Asked, taken: BoolArray) -> Cut:
    """Unmark stretches and edges that are not needed, the dearest first, and tell where the rest goes."""
    have_s, _, count = _have_s(usable, asked, taken)
    if count == 0 or count > asked.most or have_s < asked.need_s - EPSILON_S:
        return Cut(math.inf, 0, False, 0.0)
    runs = _runs(usable, taken, count)
    while True:
        spare_s = max(0.0, have_s - asked.need_s)
        whole, at_begin = _edge(usable, asked, runs, count, spare_s, 0.0)
        if whole == TOO_SHORT:
            return Cut(math.inf, 0, False, 0.0)
        spare = _spare(asked, runs, count, spare_s) if count > 1 else NONE
        if spare != NONE:
            have_s -= _left_out(runs, spare, count, taken) - asked.switch_s
            count -= 1
            continue
        cost = runs.cost[:count].sum()
        if spare_s <= EPSILON_S:
            return Cut(cost, 0, False, 0.0)
        part, part_at_begin = _edge(usable, asked, runs, count, spare_s, spare_s)
        edge = _edge_slot(runs, part, part_at_begin) if part != NONE else 0
        if whole != NONE and (part == NONE or usable.price[_edge_slot(runs, whole, at_begin)] > usable.price[edge]):
            have_s -= _shortened(usable, runs, whole, at_begin, taken)
        elif part != NONE:
            return Cut(cost - spare_s * usable.price[edge], edge, part_at_begin, spare_s)
        else:
            return Cut(math.inf, 0, False, 0.0)


@compiled
def _grown(usable: Usable, asked: Asked, taken: BoolArray) -> bool:
    """Mark the cheapest slots beside marked ones until the work fits; False where it cannot."""
    have_s, _, count = _have_s(usable, asked, taken)
    while count > 0 and have_s < asked.need_s - EPSILON_S:
        cheapest, least = NONE, math.inf
        for slot in range(len(taken)):
            is_beside = (slot > 0 and taken[slot - 1]) or (slot + 1 < len(taken) and taken[slot + 1])
            if is_beside and not taken[slot] and usable.room[slot] and usable.price[slot] < least:
                cheapest, least = slot, usable.price[slot]
        if cheapest == NONE:
            return False
        taken[cheapest] = True
        have_s, _, count = _have_s(usable, asked, taken)
    return count > 0


class Table(NamedTuple):
    """What the dynamic program fills: [slots passed, stretches begun], and [slots passed] for sums."""

    running: FloatArray
    idle: FloatArray
    came: MarkArray
    gain: FloatArray
    blocked: IntArray


@compiled
def _table(count: int, most: int) -> Table:
    shape = (count + 1, most + 1)
    gain, blocked = np.empty(count + 1), np.empty(count + 1, dtype=np.int64)
    return Table(np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.int8), gain, blocked)


@compiled
def _blocks(usable: Usable, asked: Asked) -> tuple[int, int]:
    """The fewest slots of a stretch that begins with the first slot, and of any other."""
    slot_s = usable.width_s[-1]
    least_s = min(asked.min_run_s, asked.need_s)
    first_s = min(asked.first_run_s, asked.need_s) if asked.hold > 0 else least_s
    block = max(1, math.ceil((least_s - EPSILON_S) / slot_s))
    first = 1 + max(0, math.ceil((first_s - usable.width_s[0] - EPSILON_S) / slot_s))
    return max(first, asked.hold), block


@compiled
def _fill(usable: Usable, asked: Asked, worth: float, table: Table) -> float:
    """The most gain by slots passed and stretches begun, for stretches that go on and such that have ended.

    Returns:
        The most of all.

    """
    running, idle, came, gain, blocked = table
    first, block = _blocks(usable, asked)
    gain[0], blocked[0] = 0.0, 0
    running[0, :], idle[0, :], idle[0, 0] = -math.inf, -math.inf, 0.0
    for i in range(1, len(gain)):
        free = usable.room[i - 1]
        won = (worth - usable.price[i - 1]) * usable.width_s[i - 1] if free else -math.inf
        gain[i], blocked[i] = gain[i - 1] + (won if free else 0.0), blocked[i - 1] + (0 if free else 1)
        running[i, 0], idle[i, 0] = -math.inf, 0.0 if asked.hold == 0 else -math.inf
        begin = max(0, i - block)
        can_begin = begin > 0 and blocked[i] == blocked[begin]
        begun, lost = gain[i] - gain[begin] if can_begin else -math.inf, 0.0
        for n in range(1, running.shape[1]):
            ran, rested = running[i - 1, n], idle[i - 1, n]
            goes_on, begins = ran + won, idle[begin, n - 1] + begun - lost
            lost = worth * asked.switch_s
            idle[i, n] = max(ran, rested)
            running[i, n] = max(goes_on, begins)
            came[i, n] = (BEGAN if begins > goes_on else CONTINUED) | (PAUSED if ran > rested else 0)
        if i == first and blocked[i] == 0 and gain[i] > running[i, 1]:
            running[i, 1], came[i, 1] = gain[i], BEGAN_FIRST | (came[i, 1] & PAUSED)
    return float(max(running[-1].max(), idle[-1].max()))


@compiled
def _mark(usable: Usable, asked: Asked, table: Table, taken: BoolArray) -> None:
    """Mark the slots of most gain in a table that has been filled."""
    taken[:] = False
    first, block = _blocks(usable, asked)
    i = len(taken)
    n, is_running, best = 0, False, -math.inf
    for number in range(1, table.running.shape[1]):
        if table.running[i, number] > best:
            n, is_running, best = number, True, table.running[i, number]
        if table.idle[i, number] > best:
            n, is_running, best = number, False, table.idle[i, number]
    while n > 0:
        if not is_running:
            is_running = table.came[i, n] & PAUSED != 0
            i -= 1
        elif table.came[i, n] & BEGUN == CONTINUED:
            i -= 1
            taken[i] = True
        else:
            begin = i - block if table.came[i, n] & BEGUN == BEGAN else i - first
            taken[begin:i] = True
            i, n, is_running = begin, n - 1, False


@compiled
def _search(usable: Usable, asked: Asked, worth: float, below: float, taken: BoolArray) -> Cut:
    """Mark the cheapest stretches found, without the edges that are not needed.

    ``worth`` is tried first; where nothing can cost less than ``below``, the search may end without any.
    """
    table = _table(len(taken), min(asked.most, MOST_STRETCHES))
    tried, short = np.empty(len(taken), dtype=np.bool_), np.zeros(len(taken), dtype=np.bool_)
    all_worth = MOST_WORTH * max(1.0, usable.price.max())
    less_s, less_cost, more_s, more_cost = 0.0, 0.0, math.inf, math.inf
    best, is_last = Cut(math.inf, 0, False, 0.0), False
    for _ in range(MOST_TRIED):
        gained = _fill(usable, asked, worth, table)
        if worth * asked.need_s - gained >= below:
            return best
        if more_s < math.inf:
            known = worth * less_s - less_cost
            is_last = gained <= known + TIE * (abs(known) + 1.0)
        _mark(usable, asked, table, tried)
        have_s, cost, _ = _have_s(usable, asked, tried)
        if have_s < asked.need_s - EPSILON_S:
            if worth == all_worth:
                break
            less_s, less_cost = have_s, cost
            short[:] = tried
        else:
            more_s, more_cost = have_s, cost
            found = _settled(usable, asked, tried)
            if found.cost < best.cost:
                best = found
                taken[:] = tried
        if is_last or more_s <= asked.need_s + EPSILON_S:
            break
        worth = all_worth if more_s == math.inf else (more_cost - less_cost) / (more_s - less_s)
    if _grown(usable, asked, short):
        found = _settled(usable, asked, short)
        if found.cost < best.cost:
            taken[:] = short
            return found
    return best


@compiled
def _searched(usable: Usable, asked: Asked, below: float, taken: BoolArray) -> Cut:
    """As ``_search``; where stretches would come out too short, in one."""
    dearest = 0.0
    for slot in range(len(taken)):
        if taken[slot]:
            dearest = max(dearest, usable.price[slot])
    worth = FIRST_WORTH * dearest
    found = _search(usable, asked, worth, below, taken)
    if found.cost == math.inf and asked.most > 1:
        alone = Asked(asked.need_s, asked.switch_s, asked.hold, asked.first_run_s, asked.min_run_s, 1)
        return _search(usable, alone, worth, below, taken)
    return found


@compiled
def _improved(usable: Usable, asked: Asked, cut: Cut, best_cost: float, taken: BoolArray) -> Cut:
    """The cheaper of marked stretches and those that a search finds, which are then marked in their place.

    What could not be cheaper than ``best_cost`` is not searched for.
    """
    other = taken.copy()
    found = _searched(usable, asked, min(cut.cost, best_cost) * (1 - TIE), other)
    if found.cost >= cut.cost:
        return cut
    taken[:] = other
    return found


@compiled
def _spans(usable: Usable, taken: BoolArray, begins_s: FloatArray, cut: Cut) -> tuple[FloatArray, FloatArray]:
    """When the stretches begin and end."""
    starts_s, ends_s = np.empty(len(taken)), np.empty(len(taken))
    count = 0
    for slot in range(len(taken)):
        if taken[slot]:
            if slot == 0 or not taken[slot - 1]:
                starts_s[count] = begins_s[slot] + (cut.by_s if cut.at_begin and cut.edge == slot else 0.0)
                count += 1
            is_cut = cut.edge == slot and not cut.at_begin
            ends_s[count - 1] = begins_s[slot] + usable.width_s[slot] - (cut.by_s if is_cut else 0.0)
    return starts_s[:count], ends_s[:count]


@compiled
def cheapest_stretches(
    price: FloatArray,
    order: IntArray,
    room: BoolArray,
    edges_s: FloatArray,
    sites: IntArray,
    is_open: BoolArray,
    highs: IntArray,
    low: int,
    start_s: float,
    asked: Asked,
) -> tuple[int, FloatArray, FloatArray]:
    """The site, starts and ends of the cheapest stretches, in seconds after now; site -1 where there are none.

    Args:
        price: [site, slot], g/kWh times PUE.
        order: [site, slot], the numbers of its slots, cheapest first.
        room: [site, slot], whether there is room for the job.
        edges_s: [slot + 1], when slots begin and end.
        sites: those that may be used, the preferred first.
        is_open: [site], whether it may be used all the same.
        highs: [site], the exclusive last slot that may be used.
        low: the first slot that may be used.
        start_s: when work may begin in it.
        asked: what the stretches have to hold and to keep.

    """
    most = max(0, highs.max() - low)
    begins_s = edges_s[low : low + most].copy()
    width_s = edges_s[low + 1 : low + most + 1] - begins_s
    best_cost, best_site = math.inf, -1
    none = np.empty(0)
    best = none, none
    if most == 0 or asked.most == 0:
        return best_site, none, none
    begins_s[0], width_s[0] = start_s, edges_s[low + 1] - start_s
    bounds, taken = np.full(len(sites), math.inf), np.zeros((len(sites), most), dtype=np.bool_)
    for i, site in enumerate(sites):
        count = highs[site] - low
        if count > 0 and is_open[site]:
            usable = Usable(price[site, low : low + count], width_s[:count], room[site, low : low + count])
            bounds[i] = _take_cheapest(usable, order[site], low, asked, taken[i, :count])
    searched = 0
    for _ in range(len(sites)):
        i = int(bounds.argmin())
        if bounds[i] >= best_cost * (1 - TIE):
            break
        site, bound, count = sites[i], bounds[i], highs[sites[i]] - low
        bounds[i] = math.inf
        usable = Usable(price[site, low : low + count], width_s[:count], room[site, low : low + count])
        cheapest = taken[i, :count]
        cut = _settled(usable, asked, cheapest)
        if cut.cost > bound * (1 + TIE) and searched < MOST_SEARCHED:
            searched += 1
            cut = _improved(usable, asked, cut, best_cost, cheapest)
        if cut.cost < best_cost * (1 - TIE):
            best_cost, best_site = cut.cost, site
            best = _spans(usable, cheapest, begins_s, cut)
    return best_site, best[0], best[1]


@compiled
def soonest_stretches(
    room: BoolArray, edges_s: FloatArray, sites: IntArray, low: int, high: int, start_s: float, asked: Asked
) -> tuple[int, FloatArray, FloatArray]:
    """The site, starts and ends of the first slots with room that hold a job; as ``cheapest_stretches``."""
    best_site, none = -1, np.empty(0)
    best, count = (none, none), high - low
    if count <= 0 or asked.most == 0:
        return best_site, none, none
    begins_s = edges_s[low:high].copy()
    width_s = edges_s[low + 1 : high + 1] - begins_s
    begins_s[0], width_s[0] = start_s, edges_s[low + 1] - start_s
    order = np.arange(low, high)
    taken = np.empty(count, dtype=np.bool_)
    for site in sites:
        usable = Usable(begins_s, width_s, room[site, low:high])  # the later the dearer
        if _take_cheapest(usable, order, low, asked, taken) == math.inf:
            continue
        cut = _settled(usable, asked, taken)
        if cut.cost == math.inf:
            continue
        found = _spans(usable, taken, begins_s, cut)
        if best_site < 0 or found[1][-1] < best[1][-1]:
            best_site, best = site, found
    return best_site, best[0], best[1]


@compiled
def stretches_of(price: FloatArray, width_s: FloatArray, room: BoolArray, asked: Asked) -> BoolArray:
    """[slot], which of one site's slots the cheapest stretches use; none where there are no such stretches."""
    usable, taken = Usable(price, width_s, room), np.zeros(len(price), dtype=np.bool_)
    bound = _take_cheapest(usable, price.argsort(kind="mergesort"), 0, asked, taken)
    if bound == math.inf:
        return np.zeros(len(price), dtype=np.bool_)
    cut = _settled(usable, asked, taken)
    if cut.cost > bound * (1 + TIE):
        cut = _improved(usable, asked, cut, math.inf, taken)
    return taken if cut.cost < math.inf else np.zeros(len(price), dtype=np.bool_)
