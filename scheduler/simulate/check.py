"""What has to hold before a trace is played: zones, sites and queues that it names, and jobs that can run at all."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.site import Site
from lowtide.scheduler.model.tariff import SpotPrices
from lowtide.scheduler.simulate.chain import in_turn
from lowtide.scheduler.simulate.installation import Queues
from lowtide.scheduler.simulate.trace import TraceJob

if TYPE_CHECKING:
    from lowtide.scheduler.simulate.play import Play

MINUTE = "%Y-%m-%dT%H:%M"


def check(play: "Play") -> None:
    """Make sure that it can be played.

    Raises:
        BadInput: the policy is not known, a job can never run, or the intensity does not cover the time.

    """
    queues, sites = play.queues, {site.name: site for site in play.sites}
    in_turn(play.jobs)
    for site in sites.values():
        _check_site(site, play)
    for job in play.jobs:
        _check_job(job, play, sites, queues)


def _check_site(site: Site, play: "Play") -> None:
    series, tariff = play.intensity.get(site.zone), site.tariff
    if series is None:
        known = ", ".join(play.intensity)
        message = f"site {site.name!r} is in zone {site.zone!r}, and the intensity holds: {known}."
        raise BadInput(message, fix="Give the intensity of its zone with a column zone, or leave the site out.")
    if not series.covers(play.start, play.end):
        first, last = series.points[0].start, series.points[-1].end
        message = f"the intensity of zone {site.zone!r} reaches from {first:{MINUTE}} to {last:{MINUTE}}."
        raise BadInput(message, fix="Choose --start and --hours within it.")
    if isinstance(tariff, SpotPrices) and not tariff.covers(play.start, play.end):
        message = f"the prices of zone {site.zone!r} reach from {tariff.start:{MINUTE}} to {tariff.end:{MINUTE}}."
        raise BadInput(message, fix="Choose --start and --hours within them, or give more prices.")


def _check_job(job: TraceJob, play: "Play", sites: Mapping[str, Site], queues: Queues) -> None:
    for site in (job.site, *(one.site for one in job.data)):
        if site and site not in sites:
            what = "zones" if play.installation is None else "sites"
            message = f"job {job.job_id!r} names site {site!r}; the {what} are: {', '.join(sites)}."
            raise BadInput(message, fix="Correct it.")
    if play.queue_of(job) not in queues:
        message = f"job {job.job_id!r} names queue {job.queue!r}; the queues are: {', '.join(queues)}."
        raise BadInput(message, fix="Correct it, or add the queue to the settings.")
    if not any(sites[name].can_ever_run(play.need_of(job)) for name in play.sites_of(job)):
        raise BadInput(f"job {job.job_id!r} {_too_much(job, play)}", fix=_more(play))


def _too_much(job: TraceJob, play: "Play") -> str:
    """Why it can never run."""
    if play.installation is None:
        return f"needs {job.gpus} GPUs of {play.gpus}."
    what = f"{job.gpus} GPUs of model {job.gpu_model!r}" if job.gpu_model else f"{job.gpus} GPUs"
    return f"needs {what}, and no pool of {', '.join(play.sites_of(job))} has as many."


def _more(play: "Play") -> str:
    return "Raise --gpus." if play.installation is None else "Correct the job, or the sites of the settings."
