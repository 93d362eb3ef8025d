"""Plans and decisions as JSON: what the API shows as ``plan`` and ``explain``.

Times are ISO 8601 in UTC with ``Z``; a figure that is not known is null, never zero.
"""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from lowtide.scheduler.model.bind import Bind, Insight
from lowtide.scheduler.model.plan import Candidate, JobDecision, Plan
from lowtide.scheduler.model.reason import Reason

NOTHING = Insight()
"""What is known where nobody has looked."""


def explain(
    decision: JobDecision,
    plan: Plan,
    *,
    insight: Insight = NOTHING,
    job: dict[str, object] | None = None,
    history: Sequence[dict[str, object]] = (),
) -> dict[str, object]:
    """One decision with its plan's grid data as a JSON-able dict.

    Args:
        decision: one of the plan's decisions.
        plan: gives ``now`` and the grid data.
        insight: what binds the job, and what else would change the decision.
        job: the job as the API shows it; null for a dry run.
        history: earlier decisions about the job, newest first, each as the API shows it.

    """
    return {
        "job": job,
        "now": _time(plan.made_at),
        **decision_to_dict(decision),
        "would_start_now_if": [*decision.would_start_now_if, *insight.would_start_now_if],
        "would_suspend_if": list(insight.would_suspend_if),
        "binds": [bind_to_dict(bind) for bind in insight.binds],
        "grid": [dict(row) for row in plan.grid],
        "history": [dict(row) for row in history],
    }


def decision_to_dict(decision: JobDecision) -> dict[str, object]:
    """A decision as a JSON-able dict."""
    return {
        "job_id": decision.job_id,
        "action": decision.action.value,
        "reason": reason_to_dict(decision.reason),
        "next_review_at": _time(decision.next_review_at),
        "baseline_g": _number(decision.baseline_g),
        "saving_g": _number(decision.saving_g),
        "doubt_g": _number(decision.doubt_g),
        "latest_start_at": None if decision.latest_start_at is None else _time(decision.latest_start_at),
        "would_start_now_if": list(decision.would_start_now_if),
        "rung": decision.rung,
        "candidates": [candidate_to_dict(candidate, decision.chosen) for candidate in decision.candidates],
    }


def bind_to_dict(bind: Bind) -> dict[str, object]:
    """A bind as its code, its sentence and what it costs in grams."""
    return {"code": bind.code.value, "sentence": bind.sentence, "saving_g": bind.saving_g}


def candidate_to_dict(candidate: Candidate, chosen: Candidate | None) -> dict[str, object]:
    """A candidate as a JSON-able dict, with what it emits more than the chosen one, and how much later it ends."""
    segments = [
        {
            "site": s.site,
            "pool": s.pool,
            "start": _time(s.start),
            "end": _time(s.end),
            "gpus": s.gpus,
            "power_fraction": s.power_fraction,
        }
        for s in candidate.segments
    ]
    return {
        "site": candidate.site,
        "pool": candidate.pool,
        "start": _time(candidate.start),
        "finish": _time(candidate.finish),
        "emissions_g": _number(candidate.emissions_g),
        "more_g": None if chosen is None else _number(candidate.emissions_g - chosen.emissions_g),
        "later_s": None if chosen is None else (candidate.finish - chosen.finish).total_seconds(),
        "segments": segments,
        "chosen": candidate.chosen,
        "note": candidate.note,
        "transfer_s": candidate.transfer_s,
        "transfer_g": _number(candidate.transfer_g),
        "cost": candidate.cost,
        "currency": candidate.currency,
    }


def reason_to_dict(reason: Reason) -> dict[str, object]:
    """A reason as its code and its sentence."""
    return {"code": reason.code.value, "sentence": reason.sentence}


def plan_to_json(plan: Plan) -> str:
    """A whole plan as canonical JSON: equal plans give equal bytes (INV-14).

    Raises:
        ValueError: when provenance holds a number that JSON cannot carry.

    """
    whole = {
        "made_at": _time(plan.made_at),
        "decisions": [decision_to_dict(decision) for decision in plan.decisions],
        "grid": [dict(row) for row in plan.grid],
    }
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: object) -> str:
    """Provenance may hold moments; anything else that JSON lacks is a mistake of its source."""
    if isinstance(value, datetime):
        return _time(value)
    raise TypeError(f"{type(value).__name__} in provenance cannot be written as JSON; give text or a number.")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
