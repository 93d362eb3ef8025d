"""Sites, their pools and queues as the configuration declares them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lowtide.scheduler.model.job import Resources, Urgency
from lowtide.scheduler.model.tariff import AnyTariff, Rate, Tariff


@dataclass(frozen=True, slots=True)
class Pool:
    """The GPUs of one model at a site with the CPUs beside them, or CPUs alone (``gpus`` 0)."""

    name: str
    gpus: int
    cpus: int
    gpu_model: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What a site offers while its grid emits more than ``above_g_per_kwh``: shares of its GPUs and of its power."""

    above_g_per_kwh: float
    gpu_share: float = 1.0
    power_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Site:
    """One Ray cluster: its grid zone, jurisdiction and capacity.

    ``pue`` multiplies every gram (>= 1). ``address`` is the base URL of the Jobs API, or ``local`` for
    the private cluster that the daemon starts itself. ``pools`` is empty where all GPUs are alike; else
    ``gpus`` and ``cpus`` are their sums. ``power_budget_w`` bounds the jobs' power at any time, None for no bound;
    ``virtual_capacity`` is what is offered by intensity, the dirtiest step that applies counting. ``tariff`` is what
    electricity costs there, None where that is not known.
    """

    name: str
    zone: str
    gpus: int
    cpus: int
    jurisdiction: str = ""
    gpu_model: str = ""
    pue: float = 1.0
    address: str = "local"
    pools: tuple[Pool, ...] = ()
    power_budget_w: float | None = None
    virtual_capacity: tuple[Share, ...] = ()
    tariff: AnyTariff | None = None

    def can_ever_run(self, need: Resources) -> bool:
        """Whether the empty site, or one of its pools where it has several, would fit the request."""
        if self.pools:
            return any(self.narrowed(pool).can_ever_run(need) for pool in self.pools)
        model_ok = need.gpu_model is None or need.gpu_model == self.gpu_model
        return model_ok and need.gpus <= self.gpus and need.cpus <= self.cpus

    def narrowed(self, pool: Pool) -> "Site":
        """One pool as if it were all of the site."""
        return replace(self, gpus=pool.gpus, cpus=pool.cpus, gpu_model=pool.gpu_model, pools=())

    def pool_of(self, name: str, gpus: int, cpus: int) -> Pool:
        """The pool that holds an attempt: the one of that name, else, for pools that were renamed, the first it fits.

        Raises:
            IndexError: the site has no pools.

        """
        named = (pool for pool in self.pools if pool.name == name)
        fitting = (pool for pool in self.pools if pool.gpus >= gpus and pool.cpus >= cpus)
        return next(named, None) or next(fitting, None) or self.pools[0]


def site_from_json(plain: Mapping[str, Any]) -> Site:
    """The site of which ``asdict`` gave the values, after a journey as JSON."""
    values = dict(plain)
    values["pools"] = tuple(Pool(**one) for one in values.get("pools", ()))
    values["virtual_capacity"] = tuple(Share(**one) for one in values.get("virtual_capacity", ()))
    values["tariff"] = _tariff_from_json(values.get("tariff"))
    return Site(**values)


def _tariff_from_json(plain: Mapping[str, Any] | None) -> Tariff | None:
    if plain is None:
        return None
    rates = tuple(Rate(**{**one, "days": tuple(one["days"])}) for one in plain["rates"])
    return Tariff(plain["currency"], plain["timezone"], rates)


def gpus_by_pool(site: Site, held: Mapping[tuple[str, str], int]) -> Iterator[tuple[str, int, int]]:
    """What people call each pool, its GPUs, and how many are held; of ``held`` by site and the attempts' pool."""
    if not site.pools:
        yield site.name, site.gpus, sum(gpus for (name, _), gpus in held.items() if name == site.name)
    for pool in site.pools:
        here = (g for (name, old), g in held.items() if name == site.name and site.pool_of(old, g, 0) == pool)
        yield f"{site.name}/{pool.name}", pool.gpus, sum(here)


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
        default_duration_s: run time of a job that declares none, has no limit and no earlier runs.
        fair_share_weight: how far a project that used less than its share goes before others, in [0, 1]; 0 not at all.
        delay_g_per_h: grams of CO2e that each hour by which a job ends later must save; 0 goes by carbon alone.
        money_g_per_unit: grams of CO2e that a unit of a tariff's currency is worth; 0 goes by carbon alone.

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
    default_duration_s: float = 3600.0
    fair_share_weight: float = 0.0
    delay_g_per_h: float = 0.0
    money_g_per_unit: float = 0.0
