"""The settings of a daemon, and the policy sets beside them, as an installation in which a trace is played."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from lowtide.scheduler.control.zones import with_zones
from lowtide.scheduler.decide.registry import policy_names
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.model.tariff import AnyTariff
from lowtide.scheduler.policy_set import over, parsed, ready_made
from lowtide.scheduler.settings import QueueSettings, Settings, load
from lowtide.scheduler.simulate.installation import Booked, Installation, Queues

AS_SET = "settings"
"""What the policies of the settings themselves are called beside others."""


def settings_of(path: Path) -> Settings:
    """What a daemon would be started with; cloud regions are zones in it.

    Raises:
        BadInput: it cannot be read, is not sound, or declares no site.

    """
    found = with_zones(load(path))
    if not found.sites:
        raise BadInput(f"{path} declares no sites to play at.", fix="Name them under sites:, see docs/settings.md.")
    return found


def installation_of(settings: Settings, policies: Iterable[str], booked: tuple[Booked, ...]) -> Installation:
    """What the settings declare; ``policies`` that are none but policy sets become sets of it.

    Raises:
        BadInput: a set is not sound, or names queues that there are not; or a reservation a site.

    """
    sites = tuple(site.site() for site in settings.sites)
    _check_places(booked, sites)
    return Installation(
        sites,
        {AS_SET: _queues(settings.queues)} | {name: _queues(_set(name, settings)) for name in _sets(policies)},
        tuple(project.project() for project in settings.projects),
        timedelta(hours=settings.fair_share_half_life_h),
        booked,
        {site.name: site.transfer_gbit_per_s for site in settings.sites},
    )


def _sets(policies: Iterable[str]) -> list[str]:
    """Those that are no policies; a name that is nothing at all is left for whoever knows the policies."""
    named = [name for name in policies if name not in {AS_SET, *policy_names()}]
    return [name for name in named if name in ready_made() or Path(name).suffix or Path(name).is_file()]


def _set(name: str, settings: Settings) -> tuple[QueueSettings, ...]:
    path = Path(name)
    if name in ready_made() and not path.is_file():
        return over(settings.queues, parsed(ready_made()[name]))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the policy set {name} cannot be read: {error}.", fix="Give a YAML file in UTF-8.") from None
    return over(settings.queues, parsed(text, what=f"the policy set {name}"))


def _queues(found: Iterable[QueueSettings]) -> Queues:
    return {one.name: one.queue() for one in found}


def _check_places(booked: Iterable[Booked], sites: tuple[Site, ...]) -> None:
    """As when a reservation is made: its place is there, and has what is kept."""
    places = {(site.name, ""): site.gpus for site in sites}
    places |= {(site.name, pool.name): pool.gpus for site in sites for pool in site.pools}
    parted = {site.name for site in sites if site.pools}
    for kept in (one.reservation for one in booked):
        where = f"{kept.site}/{kept.pool}" if kept.pool else kept.site
        if (kept.site, kept.pool) not in places:
            known = ", ".join(f"{site}/{pool}" if pool else site for site, pool in places)
            message = f"reservation {kept.number} is at {where!r}; there are: {known}."
            raise BadInput(message, fix="Correct its site or pool.")
        if kept.gpus is not None and not kept.pool and kept.site in parted:
            message = f"reservation {kept.number} does not say of which pool of {kept.site} it is."
            raise BadInput(message, fix="Name the pool, or leave the amounts out to keep all of the site.")
        if kept.gpus is not None and kept.gpus > places[kept.site, kept.pool]:
            message = f"reservation {kept.number} keeps {kept.gpus} GPUs of {where}, which has"
            raise BadInput(f"{message} {places[kept.site, kept.pool]}.", fix="Correct its gpus.")


def otherwise(
    found: Installation,
    *,
    switch_s: float | None,
    money_g_per_unit: float | None,
    gbit_per_s: float | None,
    tariffs: Mapping[str, AnyTariff],
) -> Installation:
    """The same, with what options say in place of the settings; None and zones without a tariff change nothing."""
    changes = {"switch_cost_s": switch_s, "money_g_per_unit": money_g_per_unit}
    told: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    sets = {n: {q: replace(queue, **told) for q, queue in queues.items()} for n, queues in found.sets.items()}
    speeds = found.gbit_per_s if gbit_per_s is None else dict.fromkeys(found.gbit_per_s, gbit_per_s)
    sites = tuple(replace(site, tariff=tariffs.get(site.zone, site.tariff)) for site in found.sites)
    return replace(found, sites=sites, sets=sets, gbit_per_s=speeds)
