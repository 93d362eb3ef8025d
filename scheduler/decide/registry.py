"""Finds policies by name in the entry point group ``lowtide.policies``."""

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from pydantic import ValidationError

from lowtide.policies.problem import Policy
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.site import Queue

GROUP = "lowtide.policies"


@lru_cache(maxsize=1)
def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def policy_names() -> tuple[str, ...]:
    """Every installed policy, sorted."""
    return tuple(sorted(_found()))


@lru_cache(maxsize=256)
def policy_for(name: str, params: tuple[tuple[str, float], ...] = ()) -> Policy:
    """The policy of a queue with its parameters checked; loaded once.

    Raises:
        BadInput: when no such policy is installed, or it refuses a parameter.

    """
    point = _found().get(name)
    if point is None:
        known = ", ".join(policy_names()) or "none is installed"
        raise BadInput(
            f"There is no policy {name!r}; known policies: {known}.",
            fix="Correct the queue's policy, or install the package that provides it.",
        )
    try:
        policy: Policy = point.load()(**dict(params))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadInput(
            f"Policy {name!r} does not take these parameters: {problems}.",
            fix="Correct the queue's policy_params.",
        ) from error
    return policy


def check_policy(queue: Queue) -> None:
    """Make sure that a queue's policy can be had, before jobs depend on it.

    Raises:
        BadInput: the policy is not installed, cannot be loaded or refuses its parameters; names the queue.

    """
    try:
        policy_for(queue.policy, queue.policy_params)
    except BadInput as error:
        raise BadInput(f"queue {queue.name!r}: {error.message}", fix=error.fix) from error
    except Exception as error:
        raise BadInput(
            f"queue {queue.name!r}: the policy {queue.policy!r} cannot be loaded ({type(error).__name__}: {error}).",
            fix=f"Mend its package, or choose among: {', '.join(policy_names())}.",
        ) from error
