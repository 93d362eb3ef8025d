"""Why something waits, starts, stops or ends: a closed list, each with a sentence for people."""

from dataclasses import dataclass, field
from enum import StrEnum


class ReasonCode(StrEnum):
    """The closed list; the value is the machine code shown by the API."""

    # a job waits because
    CARBON_WINDOW = "carbon_window"
    CHEAP_WINDOW = "cheap_window"
    TIME_LIMIT = "time_limit"
    CAPACITY = "capacity"
    BUDGET = "budget"
    MAKING_ROOM = "making_room"
    OTHER_WIDTH = "other_width"
    GAVE_WAY = "gave_way"
    KEPT_FREE = "kept_free"
    BEGIN_TIME = "begin_time"
    DEPENDENCY = "dependency"
    DEPENDENCY_NEVER_SATISFIED = "dependency_never_satisfied"
    HELD = "held"
    RESIDENCY = "residency"
    NO_SITE = "no_site"
    SITE_UNREACHABLE = "site_unreachable"
    SITE_REMOVED = "site_removed"
    ATTEMPT_UNKNOWN = "attempt_unknown"
    RETRY_BACKOFF = "retry_backoff"
    SUSPENDED_BY_USER = "suspended_by_user"
    NOT_REVIEWED = "not_reviewed"
    NOT_YET_PLANNED = "not_yet_planned"
    # a job starts, or goes on, because
    CLINICAL = "clinical"
    DEADLINE = "deadline"
    PATIENCE = "patience"
    OVER_BUDGET = "over_budget"
    WAITED_FOR = "waited_for"
    LOW_CARBON_NOW = "low_carbon_now"
    WINDOW_OPENS = "window_opens"
    AS_PLANNED = "as_planned"
    MODES_CHOSEN = "modes_chosen"
    NO_GAIN = "no_gain"
    DELAY_WEIGHT = "delay_weight"
    MONEY_WEIGHT = "money_weight"
    GRID_DATA_STALE = "grid_data_stale"
    POLICY_ASAP = "policy_asap"
    POLICY_FAILED = "policy_failed"
    RUN_NOW = "run_now"
    MIN_RUN = "min_run"
    KEEP_RUNNING = "keep_running"
    # an attempt moves or ends because
    SITE_ACCEPTED = "site_accepted"
    PROCESS_STARTED = "process_started"
    COMPLETED = "completed"
    EXIT_CODE = "exit_code"
    KILLED = "killed"
    CHECKPOINTED = "checkpointed"
    DIRTY_STOP = "dirty_stop"
    STOPPED_BY_ITSELF = "stopped_by_itself"
    SITE_FAILED = "site_failed"
    START_REFUSED = "start_refused"
    VANISHED = "vanished"
    DECLARED_DEAD = "declared_dead"
    RETRIES_SPENT = "retries_spent"
    CANCELLED_BY_USER = "cancelled_by_user"
    SUBMITTED = "submitted"
    RELEASED = "released"
    RESUMED_BY_USER = "resumed_by_user"
    FOUND_AGAIN = "found_again"
    # a decision waits for a transition under way
    IN_TRANSITION = "in_transition"


SENTENCES: dict[ReasonCode, str] = {
    ReasonCode.CARBON_WINDOW: (
        "waits for a low-carbon window at {start} that saves about {saving_g:.0f} g ({saving_percent:.0f} %)"
    ),
    ReasonCode.CHEAP_WINDOW: "waits for cheaper electricity at {start}: that saves about {money} and {carbon}",
    ReasonCode.TIME_LIMIT: "ended: it has run as long as it was given with --time: {limit}",
    ReasonCode.CAPACITY: "waits for {gpus} GPU(s) and {cpus} CPU(s); free capacity is expected at {start}",
    ReasonCode.BUDGET: (
        "waits for the budget of project {project}: {used} of {limit} are used this {period}, and {promised} are "
        "promised to its other work; planned for {start}"
    ),
    ReasonCode.MAKING_ROOM: "starts as soon as running work has made room: {gpus} GPU(s) and {cpus} CPU(s)",
    ReasonCode.OTHER_WIDTH: (
        "goes on with {gpus} instead of {held} GPU(s) at {start}; saves about {saving_g:.0f} g ({saving_percent:.0f} %)"
    ),
    ReasonCode.GAVE_WAY: "suspended to make room for work that is due; it goes on at {start}",
    ReasonCode.KEPT_FREE: "{site} is {how} from {since} until {until}; the job is planned for {start}",
    ReasonCode.BEGIN_TIME: "may not begin before {start}",
    ReasonCode.DEPENDENCY: "waits for {jobs} to end (expected: {end})",
    ReasonCode.DEPENDENCY_NEVER_SATISFIED: (
        "was to begin when {needed} had succeeded, and that is {state}; "
        "let it run all the same with: lowtide release {job_id}, or end it with: lowtide cancel {job_id}"
    ),
    ReasonCode.HELD: "held by {actor}; release it with: lowtide release {job_id}",
    ReasonCode.RESIDENCY: "may only run in {allowed}, and no site lies there; it stays queued",
    ReasonCode.NO_SITE: "needs {need}, and the largest site offers {offer}; it stays queued until a site can run it",
    ReasonCode.SITE_UNREACHABLE: "site {site} does not answer; the job starts when it is back",
    ReasonCode.SITE_REMOVED: (
        "site {site} is not in the settings any more, so nothing of it can be asked there; "
        "add the site again, or cancel the job"
    ),
    ReasonCode.ATTEMPT_UNKNOWN: (
        "attempt {attempt_id} cannot be asked at {site}; nothing new starts until it is proved dead"
    ),
    ReasonCode.RETRY_BACKOFF: "the last attempt failed through no fault of the job; tried again at {start}",
    ReasonCode.SUSPENDED_BY_USER: "suspended by {actor}; resume it with: lowtide resume {job_id}",
    ReasonCode.NOT_REVIEWED: "submitted; the first decision is due at once",
    ReasonCode.NOT_YET_PLANNED: "the queue is too long to be planned at once; one of the next plans looks at it",
    ReasonCode.CLINICAL: "clinical work is never delayed for carbon",
    ReasonCode.DEADLINE: "must run now to end by its deadline {deadline}",
    ReasonCode.PATIENCE: "its patience ends; it runs now",
    ReasonCode.OVER_BUDGET: (
        "{why}, so it runs over the budget of project {project}: {used} of {limit} are used this {period}"
    ),
    ReasonCode.WAITED_FOR: "must run now: {job_id} waits for it and cannot be in time otherwise",
    ReasonCode.LOW_CARBON_NOW: "now is the best window within its patience",
    ReasonCode.WINDOW_OPENS: (
        "the low-carbon window that it waited for begins; it saves about {saving_g:.0f} g ({saving_percent:.0f} %)"
    ),
    ReasonCode.AS_PLANNED: "the time that was planned for it has come",
    ReasonCode.MODES_CHOSEN: (
        "starts now, as wide and as hard as the grid is clean; saves about {saving_g:.0f} g ({saving_percent:.0f} %)"
    ),
    ReasonCode.NO_GAIN: "waiting would save {saving_g:.0f} g, not more than the doubt of {doubt_g:.0f} g",
    ReasonCode.DELAY_WEIGHT: (
        "waiting would save {saving_g:.0f} g; at {delay_g_per_h:g} g an hour of delay, and by its doubt, it would have "
        "to save {bar_g:.0f} g"
    ),
    ReasonCode.MONEY_WEIGHT: (
        "waiting would save {saving_g:.0f} g and cost {money} more; at {money_g_per_unit:g} g per {currency}, and by "
        "its doubt, it would have to save {bar_g:.0f} g"
    ),
    ReasonCode.GRID_DATA_STALE: "the grid data ({rung}) does not justify a delay",
    ReasonCode.POLICY_ASAP: "its queue runs jobs as soon as possible",
    ReasonCode.POLICY_FAILED: "the policy {policy} of its queue failed ({error}), so nothing is delayed for carbon",
    ReasonCode.RUN_NOW: "run now was ordered by {actor}: {why}",
    ReasonCode.MIN_RUN: "runs at least until {start} before it may be suspended",
    ReasonCode.KEEP_RUNNING: "goes on; suspending would not save more than it costs",
    ReasonCode.SITE_ACCEPTED: "accepted by {site}",
    ReasonCode.PROCESS_STARTED: "its process runs at {site}",
    ReasonCode.COMPLETED: "completed",
    ReasonCode.EXIT_CODE: "its program exited with code {exit_code}",
    ReasonCode.KILLED: "its program was killed by signal {signal}",
    ReasonCode.CHECKPOINTED: "saved checkpoint {seq} and stopped",
    ReasonCode.DIRTY_STOP: "stopped without a verified checkpoint; work since the last one is lost",
    ReasonCode.STOPPED_BY_ITSELF: (
        "ended by itself when it was asked to stop; what it kept is not known, and it goes on when it is resumed"
    ),
    ReasonCode.SITE_FAILED: "the site failed: {error}",
    ReasonCode.START_REFUSED: "the site refused the start: {error}",
    ReasonCode.VANISHED: "the submission vanished at {site}",
    ReasonCode.DECLARED_DEAD: "proved dead: {proof}",
    ReasonCode.RETRIES_SPENT: "failed {failures} time(s); no retry is left: {error}",
    ReasonCode.CANCELLED_BY_USER: "cancelled by {actor}",
    ReasonCode.SUBMITTED: "submitted by {actor}",
    ReasonCode.RELEASED: "released by {actor}",
    ReasonCode.RESUMED_BY_USER: "resumed by {actor}",
    ReasonCode.FOUND_AGAIN: "found alive again at {site}",
    ReasonCode.IN_TRANSITION: "is {state}; the next decision follows when that is done",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason with the facts that fill its sentence."""

    code: ReasonCode
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The human sentence; a missing fact raises KeyError, so that no half sentence is shown."""
        return SENTENCES[self.code].format(**self.facts)
