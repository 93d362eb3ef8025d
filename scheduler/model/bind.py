"""What keeps a job from a greener placement: a closed list, each with a sentence for people."""

from dataclasses import dataclass, field
from enum import StrEnum


class BindCode(StrEnum):
    """The closed list; the value is the machine code shown by the API."""

    CAPACITY = "capacity"
    DEADLINE = "deadline"
    PATIENCE = "patience"
    GUARD = "guard"
    POLICY = "policy"
    RESIDENCY = "residency"
    SUSPENSIONS = "suspensions"
    MIN_RUN = "min_run"
    FORECAST_END = "forecast_end"
    GRID_DATA = "grid_data"


SENTENCES: dict[BindCode, str] = {
    BindCode.CAPACITY: "{missing} missing at {site} from {start} to {end}{gain}",
    BindCode.DEADLINE: "{start} at {site} would save {saving}, but to end by its deadline it has to start by {latest}",
    BindCode.PATIENCE: "{start} at {site} would save {saving}, but its patience ends: it has to start by {latest}",
    BindCode.GUARD: "{start} at {site} would save {saving}, not more than the {bar} that {rule} asks for",
    BindCode.POLICY: "{start} at {site} would save {saving}, and its queue's policy {policy} does not choose it",
    BindCode.RESIDENCY: "{start} at {site} would save {saving}, but the job may not run in {jurisdiction}",
    BindCode.SUSPENSIONS: "pauses would save {saving}, but {limit}",
    BindCode.MIN_RUN: "sooner pauses would save {saving}, but it runs {least} before each",
    BindCode.FORECAST_END: "the forecast ends at {end}, so later hours are not counted on; it may wait until {latest}",
    BindCode.GRID_DATA: "the grid data ({rung}) does not justify a delay",
}


@dataclass(frozen=True, slots=True)
class Bind:
    """One bound with the facts that fill its sentence.

    ``saving_g`` is what the placement that it forbids would emit less than the chosen one; None where it is not known.
    """

    code: BindCode
    facts: dict[str, object] = field(default_factory=dict)
    saving_g: float | None = None

    @property
    def sentence(self) -> str:
        """The human sentence; a missing fact raises KeyError, so that no half sentence is shown."""
        return SENTENCES[self.code].format(**self.facts)


@dataclass(frozen=True, slots=True)
class Insight:
    """What binds a job, the greatest loss first, and what would change its decision, in sentences."""

    binds: tuple[Bind, ...] = ()
    would_start_now_if: tuple[str, ...] = ()
    would_suspend_if: tuple[str, ...] = ()
