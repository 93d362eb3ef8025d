"""Where a trace is played when that is more than one plain site for each zone: what an installation declares."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lowtide.scheduler.decide.registry import check_policy, policy_for
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.model.project import Project
from lowtide.scheduler.model.reservation import Reservation
from lowtide.scheduler.model.site import Queue, Site

Queues = Mapping[str, Queue]
Params = tuple[tuple[str, float], ...]
DEFAULT_QUEUE = "research"
"""The queue of a job that names none, as when it is submitted."""


@dataclass(frozen=True, slots=True)
class Booked:
    """A reservation as it came to be known: from ``made_at`` on, until it was ended before its time."""

    reservation: Reservation
    made_at: datetime
    ended_at: datetime | None = None

    @property
    def over_at(self) -> datetime | None:
        """When it holds no more; None where nobody knows yet."""
        return min((at for at in (self.ended_at, self.reservation.end_at) if at is not None), default=None)

    def is_ahead(self, now: datetime) -> bool:
        """Whether a plan that is made now knows of it and has regard to it."""
        over_at = self.over_at
        return self.made_at <= now and (over_at is None or now < over_at)

    def turns(self) -> tuple[datetime, ...]:
        """When everybody is to be decided anew."""
        return tuple(at for at in (self.made_at, self.reservation.start_at, self.over_at) if at is not None)


@dataclass(frozen=True, slots=True)
class Installation:
    """What settings declare, and what was reserved.

    Attributes:
        sites: each with its zone, pools, power budget, virtual capacity and tariff.
        sets: by name the queues that each policy set makes of those of the settings, all of the same names.
        projects: those with budgets or a share.
        half_life: of what was used, for fair shares.
        reservations: drains too.
        gbit_per_s: how fast each site sends and takes data.

    """

    sites: tuple[Site, ...]
    sets: Mapping[str, Queues]
    projects: tuple[Project, ...] = ()
    half_life: timedelta = timedelta(hours=168)
    reservations: tuple[Booked, ...] = ()
    gbit_per_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def _declared(self) -> Queues:
        return next(iter(self.sets.values()))

    @property
    def usual_queue(self) -> str:
        """Of a job that names none: the usual one, else the first."""
        return DEFAULT_QUEUE if DEFAULT_QUEUE in self._declared else next(iter(self._declared))

    def queues(self, name: str, params: Params = ()) -> Queues:
        """The queues of a policy set; of a policy, those of the first set with this policy for all that may wait.

        Raises:
            BadInput: it is neither, or refuses a parameter.

        """
        if name not in self.sets:
            policy_for(name, params)
            return {one.name: _under(one, name, params) for one in self._declared.values()}
        if params:
            message = f"--param is meant for policies, and {name} is a policy set."
            raise BadInput(message, fix="Write the parameters in the set, or give --policy NAME.")
        for queue in self.sets[name].values():
            check_policy(queue)
        return self.sets[name]


def _under(queue: Queue, policy: str, params: Params) -> Queue:
    may_wait = queue.urgency is not Urgency.CLINICAL and queue.policy != "asap"
    return replace(queue, policy=policy, policy_params=params) if may_wait else queue
