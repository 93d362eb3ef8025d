"""A decision in the terminal: what was considered, what was chosen, and why."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from lowtide.scheduler.cli.table import Cell, Column, commands, facts, flow, styled, table
from lowtide.scheduler.cli.words import (
    NONE,
    change_from_now,
    count,
    local,
    mass,
    money,
    rung_words,
    short,
    skill_words,
    span,
    zone_name,
)

Json = dict[str, Any]
MAX_CANDIDATES = 12
MAX_HISTORY = 8
COST_AT = 5
"""The column before which the cost of electricity stands, where a tariff tells it."""


EMPTY: Json = {
    "job": None,
    "action": "wait",
    "next_review_at": None,
    "baseline_g": None,
    "saving_g": None,
    "doubt_g": None,
    "latest_start_at": None,
    "would_start_now_if": [],
    "would_suspend_if": [],
    "binds": [],
    "candidates": [],
    "grid": [],
    "history": [],
}


def whole(plan: Json) -> Json:
    """The plan with nothing missing: a job that nobody has decided on yet has little to tell."""
    return EMPTY | plan


def plan_text(plan: Json) -> str:
    """The considered windows, the reason and the grid data of a dry run."""
    parts = [candidates_text(plan), headline(plan), doubt_text(plan), binds_text(plan), grid_text(plan["grid"])]
    return "\n".join(part for part in parts if part)


def headline(plan: Json) -> str:
    """What happens and why, in one line."""
    chosen = chosen_of(plan)
    sentence = plan["reason"]["sentence"]
    if chosen is None:
        return flow(f"Decision: {plan['action']}. Reason: {sentence}.")
    word = "starts now" if plan["action"] in {"start", "keep"} else f"starts {local(chosen['start'])}"
    return flow(f"Decision: {word} at {chosen['site']}. Reason: {sentence}.")


def doubt_text(plan: Json) -> str:
    """The saving with its doubt, where there is one."""
    if plan["saving_g"] is None or not plan["saving_g"]:
        return ""
    doubt = f" ± {mass(plan['doubt_g'])}" if plan["doubt_g"] is not None else ""
    share = change_from_now((plan["baseline_g"] or 0) - plan["saving_g"], plan["baseline_g"])
    return flow(f"Expected saving: {mass(plan['saving_g'])}{doubt} against starting as soon as possible ({share}).")


def binds_text(plan: Json) -> str:
    """What keeps it from a greener plan, the greatest loss first."""
    told = facts([(bind["code"].replace("_", " "), bind["sentence"]) for bind in plan["binds"]])
    return f"What keeps it from a greener plan:\n{told}" if told else ""


def chosen_of(plan: Json) -> Json | None:
    """The candidate that the plan follows."""
    return next((c for c in plan["candidates"] if c["chosen"]), None)


def candidates_text(plan: Json) -> str:
    """The considered placements, the chosen one marked."""
    candidates = _shown(plan["candidates"])
    if not candidates:
        return ""
    name = zone_name(at=plan["now"])
    reference = plan["baseline_g"]
    columns = [
        Column("SITE"),
        Column(f"START {name}"),
        Column(f"FINISH {name}"),
        Column("PARTS", is_number=True, drop=2),
        Column("gCO2e", is_number=True),
        Column("VS NOW", is_number=True),
        Column("g MORE", is_number=True, drop=3),
        Column("LATER", is_number=True, drop=4),
        Column("CHOSEN"),
        Column("NOTE", is_flexible=True, wraps=True, drop=1),
    ]
    varies = len({way for candidate in candidates for way in _ways(candidate)}) > 1
    rows = [_candidate_row(candidate, reference, name, tells_ways=varies) for candidate in candidates]
    if any(candidate.get("cost") is not None for candidate in candidates):
        columns.insert(COST_AT, Column("COST", is_number=True))
        for row, candidate in zip(rows, candidates, strict=True):
            row.insert(COST_AT, Cell(money(candidate.get("cost"), candidate.get("currency")), row[0].style))
    hidden = len(plan["candidates"]) - len(candidates)
    more = f"\n{hidden} more were considered (-o json lists all)." if hidden else ""
    return table(columns, rows) + more


def _shown(candidates: Sequence[Json]) -> list[Json]:
    """The first, the chosen and the best ones, in order of start."""
    if len(candidates) <= MAX_CANDIDATES:
        return sorted(candidates, key=lambda c: str(c["start"]))
    kept = [candidates[0], *[c for c in candidates if c["chosen"]]]
    for candidate in sorted(
        candidates, key=lambda c: math.inf if c["emissions_g"] is None else float(c["emissions_g"])
    ):
        if len(kept) < MAX_CANDIDATES and not any(candidate is one for one in kept):
            kept.append(candidate)
    return sorted(kept, key=lambda c: str(c["start"]))


def _candidate_row(candidate: Json, reference: float | None, zone: str, *, tells_ways: bool) -> list[Cell]:
    style = "green" if candidate["chosen"] else ""
    return [
        Cell("/".join(part for part in (candidate["site"], candidate.get("pool")) if part), style),
        Cell(short(candidate["start"], zone), style),
        Cell(short(candidate["finish"], zone), style),
        Cell(str(len(candidate["segments"]) or 1), style),
        Cell(NONE if candidate["emissions_g"] is None else f"{candidate['emissions_g']:.1f}", style),
        Cell(change_from_now(candidate["emissions_g"], reference), style),
        Cell(_signed(candidate, "more_g", lambda g: f"{g:+.1f}"), style),
        Cell(_signed(candidate, "later_s", lambda s: f"{'+' if s > 0 else ''}{span(s)}"), style),
        Cell("CHOSEN" if candidate["chosen"] else "", style),
        Cell(_note(candidate, tells_ways=tells_ways)),
    ]


def _note(candidate: Json, *, tells_ways: bool) -> str:
    """The note, with how it would run, and what bringing its data there takes."""
    lasts_s, emitted_g = candidate.get("transfer_s"), candidate.get("transfer_g")
    brings = f"brings its data: {span(lasts_s)}, {mass(emitted_g)}" if lasts_s else ""
    ways = ", then ".join(_ways(candidate)) if tells_ways else ""
    return "; ".join(part for part in (candidate["note"] or "", ways, brings) if part)


def _ways(candidate: Json) -> list[str]:
    """GPUs and power limit of its stretches, such as ``4 GPUs at 60% power``; of equal ones in a row the first."""
    ways = [(segment.get("gpus", 0), segment.get("power_fraction", 1.0)) for segment in candidate["segments"]]
    told = [way for way, _ in groupby(ways)]
    return [count(gpus, "GPU") + (f" at {share:.0%} power" if share < 1 else "") for gpus, share in told]


def _signed(candidate: Json, key: str, told: Callable[[float], str]) -> str:
    """A difference to the chosen one; nothing for the chosen one itself."""
    value = candidate.get(key)
    return NONE if candidate["chosen"] or value is None else told(value)


def grid_text(grid: Sequence[Json]) -> str:
    """Which grid data the decision rests on, how old, and whom to thank for it."""
    lines = []
    for entry in grid:
        zone, source = entry.get("zone") or NONE, entry.get("source") or "no source"
        age = f", {span(entry['age_s'])} old" if entry.get("age_s") is not None else ""
        kind = ", ".join(str(entry[key]) for key in ("signal", "basis") if entry.get(key))
        told = f"Grid data: {zone} from {source}: {rung_words(entry.get('rung'))}{age}{f' ({kind})' if kind else ''}."
        told += f" {entry['attribution']}." if entry.get("attribution") else ""
        lines.append(flow(told + _skill(entry)))
    return "\n".join(lines)


def _skill(entry: Json) -> str:
    """What plans by such figures would have saved so far."""
    words = skill_words(entry.get("rung"), entry.get("captured"), entry.get("pairs"))
    return f" Captured by such figures: {words}." if words else ""


def explain_text(plan: Json, *, decisions: int = MAX_HISTORY) -> str:
    """All that is known about why a job waits or runs."""
    job = plan["job"]
    lines = [styled(flow(_standing(job, plan["reason"]["sentence"])), "bold")] if job else []
    lines.append(facts(_plan_facts(plan, job)))
    for title, key in (("It would start now if", "would_start_now_if"), ("It would pause if", "would_suspend_if")):
        lines += [title] * bool(plan[key]) + [flow(f"  - {sentence}", hang=2) for sentence in plan[key]]
    lines.append(binds_text(plan))
    for title, text in (("Considered:", candidates_text(plan)), ("", grid_text(plan["grid"]))):
        lines += ([title] if title and text else []) + ([text] if text else [])
    lines += _history(plan["history"], decisions)
    return "\n".join(line for line in lines if line)


def _standing(job: Json, sentence: str) -> str:
    """The job, its state and the reason as one sentence."""
    state = f"is {job['state']}"
    return f"{job['id']} {sentence}." if sentence.startswith(state) else f"{job['id']} {state}: {sentence}."


def _plan_facts(plan: Json, job: Json | None) -> list[tuple[str, str]]:
    chosen = chosen_of(plan)
    waits = job is None or job["state"] in {"queued", "suspended"}
    ended = job is not None and job["finished_at"] is not None
    saving = ""
    if plan["saving_g"] and not ended:
        saving = f"{mass(plan['saving_g'])} ± {mass(plan['doubt_g'])} of {mass(plan['baseline_g'])}"
    return [
        ("planned start", local(chosen["start"]) if chosen and waits else ""),
        ("planned finish", local(chosen["finish"]) if chosen and not ended else ""),
        ("latest start", local(plan["latest_start_at"]) if plan["latest_start_at"] and waits else ""),
        ("next review", local(plan["next_review_at"]) if plan["next_review_at"] and not ended else ""),
        ("saving", saving),
        ("run time", _run_time(job) if job else ""),
        ("runs with", _held(job)),
        ("widths", f"{', '.join(job['widths'])} GPUs" if job and job.get("widths") else ""),
        ("power limits", ", ".join(f"{float(limit):.0%}" for limit in (job.get("power") if job else None) or ())),
        ("data", ", ".join(job.get("data") or []) if job else ""),
        ("depends on", ", ".join(job.get("depends_on") or []) if job else ""),
        ("site", str(job["site"]) if job and job["site"] else ""),
        ("attempts", _attempts(job) if job and job["attempts"] else ""),
    ]


TOLD_BY = {"history": "as earlier runs had", "limit": "its limit", "queue": "as its queue expects"}


def _run_time(job: Json) -> str:
    """What the job is expected to take, where it did not say, and when it would be ended."""
    told, limit_s = TOLD_BY.get(job.get("duration_from", ""), ""), job.get("time_limit_s")
    expected = f"about {span(job['duration_s'])}, {told}" if told else ""
    ended = f"ended after {span(limit_s)}" if limit_s else ""
    return "; ".join(part for part in (expected, ended) if part)


def _held(job: Json | None) -> str:
    """How the job runs, where that is not simply as it asked for."""
    holds = (job or {}).get("holds")
    if job is None or holds is None or (holds["gpus"] == job["gpus"] and not holds["limits"]):
        return ""
    limits = (f"{one['power_fraction']:.0%} power from {local(one['since'])}" for one in holds["limits"])
    return ", ".join([count(holds["gpus"], "GPU"), *limits])


def _attempts(job: Json) -> str:
    return f"{job['attempts']}, suspended {count(job['suspensions'], 'time')}"


def _history(history: Sequence[Json], limit: int) -> list[str]:
    """The latest decisions, newest first; of repeated reasons the earliest stands for all."""
    changed = [
        entry
        for i, entry in enumerate(history)
        if i + 1 == len(history) or entry["reason"]["sentence"] != history[i + 1]["reason"]["sentence"]
    ]
    if not changed:
        return []
    times = [local(entry["at"]) for entry in changed[:limit]]
    hang = max(map(len, times)) + 2
    lines = [
        flow(f"  {at.ljust(hang)}{entry['action']}: {entry['reason']['sentence']}", hang=hang)
        for at, entry in zip(times, changed, strict=False)
    ]
    return ["Decisions, newest first:", *lines]


def events_text(events: Sequence[Json]) -> str:
    """The event log as a table."""
    rows = [
        [
            Cell(local(event["at"])),
            Cell(_subject(event)),
            Cell(event["to"] or NONE),
            Cell(event["actor"]),
            Cell((event["reason"] or {}).get("sentence", "")),
        ]
        for event in events
    ]
    reason = Column("REASON", is_flexible=True, wraps=True)
    return table([Column("AT"), Column("OF"), Column("TO"), Column("BY", drop=1), reason], rows)


def _subject(event: Json) -> str:
    """What changed: the job, or one of its attempts."""
    attempt = event.get("attempt_id")
    is_attempt = attempt and event.get("subject", "attempt") == "attempt"
    return f"attempt {str(attempt).rpartition('-a')[2]}" if is_attempt else "job"


def submitted_text(job: Json, plan: Json | None) -> str:
    """What is printed after a submission: the plan in two lines, and what to type next."""
    lines = [f"Submitted {styled(job['id'], 'bold')} to queue {job['queue']}."]
    if plan is not None:
        lines += [headline(plan), doubt_text(plan)]
    else:
        lines.append("It is accepted; the first decision is still being made.")
    lines += [
        "Next:",
        commands(_next_commands(job["id"], waits=plan is None or plan["action"] not in {"start", "keep"})),
    ]
    return "\n".join(line for line in lines if line)


def _next_commands(job_id: str, *, waits: bool) -> list[tuple[str, str]]:
    return [
        (f"lowtide explain {job_id}", "why it waits" if waits else "why it starts now"),
        (f"lowtide logs -f {job_id}", "what it prints"),
        *([(f"lowtide run-now {job_id} --reason TEXT", "do not wait")] if waits else []),
        (f"lowtide cancel {job_id}", "end it for good"),
    ]
