"""What the database itself refuses: triggers against illegal transitions, full sites and changed records.

Made from the transition tables; what a released revision wrote stays in its migration.
"""

from lowtide.scheduler.model.dependency import After
from lowtide.scheduler.model.lifecycle import ATTEMPT_TRANSITIONS, JOB_TRANSITIONS, AttemptState, JobState
from lowtide.scheduler.store.tables import LIVE, TERMINAL, quoted

APPEND_ONLY = ("event", "decision", "energy", "emission", "baseline", "intensity")
APPEND_ONLY_SINCE_0005 = ("policy_set", "comparison")
APPEND_ONLY_SINCE_0007 = ("reservation", "reservation_end")


def _transition_guard(
    table: str, table_of: dict[JobState, frozenset[JobState]] | dict[AttemptState, frozenset[AttemptState]]
) -> str:
    legal = " OR ".join(
        f"(OLD.state = '{source.value}' AND NEW.state IN ({quoted(targets)}))"
        for source, targets in table_of.items()
        if targets
    )
    return f"""CREATE TRIGGER inv03_{table}_transition BEFORE UPDATE OF state ON {table}
WHEN OLD.state <> NEW.state AND NOT ({legal})
BEGIN SELECT RAISE(ABORT, 'INV-03 illegal {table} transition'); END"""


def _capacity_guard() -> str:
    def over(what: str) -> str:
        return (
            f"(SELECT COALESCE(SUM({what}), 0) FROM attempt WHERE site = NEW.site AND {LIVE}) + NEW.{what}"
            f" > (SELECT {what} FROM site WHERE name = NEW.site)"
        )

    return f"""CREATE TRIGGER inv07_capacity BEFORE INSERT ON attempt
WHEN {over("gpus")} OR {over("cpus")}
BEGIN SELECT RAISE(ABORT, 'INV-07 site is full'); END"""


def _pool_guard() -> str:
    """Attempts from before a pool was renamed count in the site alone: nobody knows any more where they run."""

    def over(what: str) -> str:
        return (
            f"(SELECT COALESCE(SUM({what}), 0) FROM attempt WHERE site = NEW.site AND pool = NEW.pool AND {LIVE})"
            f" + NEW.{what}"
            f" > (SELECT {what} FROM pool WHERE site = NEW.site AND name = NEW.pool)"
        )

    return f"""CREATE TRIGGER inv07_pool_capacity BEFORE INSERT ON attempt
WHEN {over("gpus")} OR {over("cpus")}
BEGIN SELECT RAISE(ABORT, 'INV-07 pool is full'); END"""


def sqlite_guards() -> list[str]:
    """The triggers for SQLite, generated from the transition tables."""
    guards = [
        _transition_guard("job", JOB_TRANSITIONS),
        _transition_guard("attempt", ATTEMPT_TRANSITIONS),
        _capacity_guard(),
        f"""CREATE TRIGGER inv05_no_attempt_after_end BEFORE INSERT ON attempt
WHEN (SELECT {TERMINAL} FROM job WHERE id = NEW.job_id)
BEGIN SELECT RAISE(ABORT, 'INV-05 the job has ended'); END""",
    ]
    guards += [guard for name in APPEND_ONLY for guard in _append_only(name)]
    # issues are dropped when they are old, and never changed
    guards.append(
        "CREATE TRIGGER issue_no_update BEFORE UPDATE ON issue BEGIN SELECT RAISE(ABORT, 'issue is append-only'); END"
    )
    guards += [guard for name in APPEND_ONLY_SINCE_0005 for guard in _append_only(name)]
    guards += [_dependency_guard(), *_append_only("transfer"), _pool_guard()]
    return guards + [guard for name in APPEND_ONLY_SINCE_0007 for guard in _append_only(name)]


def _dependency_guard() -> str:
    return f"""CREATE TRIGGER inv24_after_what_it_depends_on BEFORE INSERT ON attempt
WHEN EXISTS (SELECT 1 FROM dependency JOIN job ON job.id = dependency.on_job_id
  WHERE dependency.job_id = NEW.job_id AND dependency.waived_by IS NULL
  AND NOT (job.state = '{JobState.SUCCEEDED.value}' OR (dependency.after = '{After.ANY.value}' AND job.{TERMINAL})))
BEGIN SELECT RAISE(ABORT, 'INV-24 a job that it depends on has not ended as it must'); END"""


def _append_only(name: str) -> list[str]:
    return [
        f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
        f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ]
