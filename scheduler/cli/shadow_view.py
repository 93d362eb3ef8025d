"""What a policy set in the shadow would have saved, in words and a table."""

from typing import Any

from lowtide.scheduler.cli.table import Cell, Column, table
from lowtide.scheduler.cli.words import count, grams, mass

Json = dict[str, Any]


def shadow_text(found: Json) -> str:
    """The shadow, the sums, and the last jobs compared."""
    if found["revision"] is None:
        return "No policy set has decided in the shadow yet. Begin with: lowtide admin policy shadow FILE"
    return "\n".join(line for line in (_head(found), _sums(found), _now(found), _jobs(found["comparisons"])) if line)


def _head(found: Json) -> str:
    who = f"by {found['actor']}"
    if not found["is_running"]:
        return f"Revision {found['revision']} was in the shadow from {found['at']} on, {who}; it has ended."
    trouble = f" Its trouble: {found['trouble']}." if found["trouble"] else ""
    return f"Revision {found['revision']} decides in the shadow since {found['at']}, {who}.{trouble}"


def _sums(found: Json) -> str:
    if not found["jobs"]:
        return "No job has been compared yet."
    saved = found["saving_g"]
    share = f" ({abs(saved) / found['active_g']:.0%})" if found["active_g"] > 0 else ""
    verdict = f"{mass(abs(saved))} {'less' if saved >= 0 else 'more'}{share}"
    by_whom = f"{mass(found['active_g'])} planned by the active set, {mass(found['shadow_g'])} by the shadow"
    return f"{count(found['jobs'], 'job')} compared: {by_whom}: {verdict}."


def _now(found: Json) -> str:
    if found["waiting"] is None:
        return ""
    return f"It would start {found['would_start']} of {count(found['waiting'], 'waiting job')} now."


def _jobs(rows: list[Json]) -> str:
    if not rows:
        return ""
    starts = [Column("START NOW PLANNED"), Column("IN THE SHADOW")]
    grams_of = [Column(name, is_number=True) for name in ("gCO2e", "IN THE SHADOW", "SAVED")]
    cells = [[Cell(text) for text in _row(one)] for one in rows]
    return table([Column("JOB", is_flexible=True), *starts, *grams_of], cells)


def _row(one: Json) -> list[str]:
    figures = [grams(one[key]) for key in ("active_g", "shadow_g", "saving_g")]
    return [one["job_id"], one["active_start_at"], one["shadow_start_at"], *figures]
