"""Sites and queues as the configuration declares them."""

from dataclasses import dataclass

from lowtide.scheduler.model.job import Resources, Urgency


@dataclass(frozen=True, slots=True)
class Site:
    """One Ray cluster: its grid zone, jurisdiction and capacity.

    ``pue`` multiplies every gram (>= 1). ``address`` is the base URL of the Jobs API, or ``local`` for
    the private cluster that the daemon starts itself.
    """

    name: str
    zone: str
    gpus: int
    cpus: int
    jurisdiction: str = ""
    gpu_model: str = ""
    pue: float = 1.0
    address: str = "local"

    def can_ever_run(self, need: Resources) -> bool:
        """Whether an empty site would fit the request."""
        model_ok = need.gpu_model is None or need.gpu_model == self.gpu_model
        return model_ok and need.gpus <= self.gpus and need.cpus <= self.cpus


@dataclass(frozen=True, slots=True)
class Queue:
    """An administrator's class of jobs with its policy and limits.

    Attributes:
        policy: name in the entry point group ``lowtide.policies``.
        policy_params: the policy's own parameters, validated by it.
        patience_s: how long work may slip when the job says nothing.
        min_savings: smallest expected saving that justifies a shift, as a fraction of the emissions
            of running at once, in [0, 1].
        confidence: how sure the guard must be that a shift saves at all, in [0.5, 1).
        max_suspensions: per job.
        min_run_s: a job runs at least this long between two suspensions.
        switch_cost_s: run time lost to one suspension and resume (checkpoint, restart).
        deadline_margin: share of the remaining run time kept free before a deadline.
        priority: greater goes first.
        fair_share_weight: how far a project that used less than its share goes before others, in [0, 1]; 0 not at all.
        delay_g_per_h: grams of CO2e that each hour by which a job ends later must save; 0 goes by carbon alone.

    """

    name: str
    policy: str = "balanced"
    policy_params: tuple[tuple[str, float], ...] = ()
    urgency: Urgency = Urgency.NORMAL
    patience_s: float = 24 * 3600.0
    min_savings: float = 0.01
    confidence: float = 0.6
    max_suspensions: int = 3
    min_run_s: float = 1800.0
    switch_cost_s: float = 120.0
    deadline_margin: float = 0.1
    priority: int = 0
    fair_share_weight: float = 0.0
    delay_g_per_h: float = 0.0
