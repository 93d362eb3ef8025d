"""What the settings say of projects: their budgets by calendar period, and their shares."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lowtide.scheduler.model.job import check_id
from lowtide.scheduler.model.project import Budget, Measure, Period, Project


class BudgetSettings(BaseModel):
    """What a project may spend in a calendar period; at least one of the limits is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    period: Period = Field(description="in UTC; weeks begin on Monday")
    carbon_g: Annotated[float | None, Field(gt=0)] = Field(None, description="grams of CO2e, as the ledger counts them")
    gpu_h: Annotated[float | None, Field(gt=0)] = Field(None, description="GPU-hours of attempts")
    near: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="share of a limit from which on the project's work goes by any expected saving"
    )

    @model_validator(mode="after")
    def _check(self) -> "BudgetSettings":
        if self.carbon_g is None and self.gpu_h is None:
            message = f"a budget for a {self.period} without a limit; give carbon_g, gpu_h or both"
            raise ValueError(message)
        return self

    def budgets(self) -> tuple[Budget, ...]:
        """As the core sees it, one for each limit."""
        limits = ((Measure.CARBON, self.carbon_g), (Measure.GPU, self.gpu_h))
        return tuple(Budget(self.period, measure, limit, self.near) for measure, limit in limits if limit is not None)


class ProjectSettings(BaseModel):
    """One project; jobs name theirs, and one that is not listed has no budget and a share of 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    share: Annotated[float, Field(gt=0)] = Field(1.0, description="what it is due, beside the shares of other projects")
    budgets: tuple[BudgetSettings, ...] = Field((), description="each period once")

    @model_validator(mode="after")
    def _check(self) -> "ProjectSettings":
        check_id(self.name, "project")
        periods = [budget.period for budget in self.budgets]
        doubled = sorted({period.value for period in periods if periods.count(period) > 1})
        if doubled:
            message = f"project {self.name} has two budgets for a {doubled[0]}; put both limits in one"
            raise ValueError(message)
        return self

    def project(self) -> Project:
        """The project as the core sees it."""
        return Project(self.name, tuple(one for budget in self.budgets for one in budget.budgets()), self.share)
