"""Policy sets: how each queue decides, as one YAML file that an administrator checks, compares and applies.

Which queues there are is said by the settings; a set changes how they decide. What it does not name stays as the
settings have it.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path as File
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lowtide.policies import problem
from lowtide.scheduler.decide.registry import check_policy
from lowtide.scheduler.lined import Fault, Lined, Path, read, refused
from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import Urgency
from lowtide.scheduler.settings import QueueSettings

OTHERS = "*"
"""Stands for every queue that is not named and that the settings let wait: neither clinical nor ``asap``."""
SETS = File(problem.__file__).parent / "sets"
MAX_CHARS = 64_000
"""A thousand queues fit in; more is no policy set."""
FIX = "Mend the file, then try: lowtide admin policy validate FILE"
Changes = tuple["Change", ...]


class PolicySet(BaseModel):
    """A checked set; ``queues`` holds per queue the keys that the file gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(max_length=64)] = ""
    note: Annotated[str, Field(max_length=2000)] = ""
    queues: dict[str, dict[str, Any]] = Field(default_factory=dict, max_length=1000)


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one queue that becomes another; plain values as in the file."""

    queue: str
    field: str
    before: object
    after: object


def parsed(text: str, *, what: str = "the policy set") -> PolicySet:
    """Read and check a set.

    Raises:
        BadInput: it is no YAML, has unknown keys, policies or parameters, or values out of bounds; every fault comes
            with its line.

    """
    if len(text) > MAX_CHARS:
        raise BadInput(f"{what} has {len(text)} characters, expected at most {MAX_CHARS}.", fix=FIX)
    lined, faults = read(text)
    if not faults and not isinstance(lined.values, dict):
        faults = [Fault(1, "", "expected a mapping that begins with 'queues:'")]
    if not faults:
        faults = [*_shape_faults(lined), *_queue_faults(lined)]
    if faults:
        raise refused(what, faults, FIX)
    return PolicySet.model_validate(lined.values)


def _shape_faults(lined: Lined) -> Iterator[Fault]:
    """Wrong keys at the top; what stands inside a queue is looked at apart."""
    yield from _faults_of(PolicySet, lined.values, lined, ())
    if "queues" not in lined.values:
        yield Fault(1, "queues", "expected the queues with their policies")


def _queue_faults(lined: Lined) -> Iterator[Fault]:
    queues = lined.values.get("queues")
    for name, given in (queues if isinstance(queues, dict) else {}).items():
        if isinstance(name, str) and isinstance(given, dict):
            yield from _faults_of_queue(name, given, lined)


def _faults_of_queue(name: str, given: dict[str, Any], lined: Lined) -> Iterator[Fault]:
    path = ("queues", name)
    if "name" in given:
        yield lined.fault((*path, "name"), "unknown key; the name of a queue stands before its keys")
        return
    if "params" in given and "policy" not in given:
        yield lined.fault((*path, "params"), "parameters without 'policy': say whose they are")
        return
    if name == OTHERS and "urgency" in given:
        yield lined.fault((*path, "urgency"), "urgency is given queue by queue; name the queues")
        return
    faults = list(_faults_of(QueueSettings, {**given, "name": name}, lined, path))
    yield from faults or _policy_faults(name, given, lined)


def _policy_faults(name: str, given: dict[str, Any], lined: Lined) -> Iterator[Fault]:
    """What the policy itself refuses: it is not installed, or does not take a parameter."""
    path = ("queues", name)
    try:
        check_policy(QueueSettings.model_validate({**given, "name": name}).queue())
    except BadInput as error:
        refusals = _refusals(error)
        for place, message in refusals:
            yield lined.fault((*path, "params", *place), message)
        if not refusals:
            message = error.message.removeprefix(f"queue {name!r}: ").rstrip(".")
            yield lined.fault((*path, "policy"), message)


def _refusals(error: BaseException) -> list[tuple[Path, str]]:
    """Parameters that a policy refused, each with why; empty where something else was wrong."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__
    return [] if cause is None else [(tuple(map(str, e["loc"])), _said(e)) for e in cause.errors()]


def _faults_of(model: type[BaseModel], given: object, lined: Lined, path: Path) -> Iterator[Fault]:
    try:
        model.model_validate(given)
    except ValidationError as error:
        for one in error.errors():
            place = tuple(str(part) for part in one["loc"] if part != "[key]")
            message = _unknown(place, model) if one["type"] == "extra_forbidden" else _said(one)
            yield lined.fault((*path, *place), message)


def _said(one: Any) -> str:
    """What a validator found, with what it was given where that is a short plain value."""
    message = "there is no such parameter" if one["type"] == "extra_forbidden" else _worded(str(one["msg"]))
    given = one.get("input")
    plain = isinstance(given, str | int | float | bool) and len(str(given)) <= 40  # noqa: PLR2004 - fits a line
    return f"{message}, not {given!r}" if plain and one["type"] != "extra_forbidden" else message


def _worded(message: str) -> str:
    return message.removeprefix("Value error, ").replace("a valid dictionary", "a mapping").rstrip(".")


def _unknown(place: Path, model: type[BaseModel]) -> str:
    known = sorted(set(model.model_fields) - {"name"} if model is QueueSettings else model.model_fields)
    near = difflib.get_close_matches(place[-1], known, n=1)
    return f"unknown key; {near[0]} was meant, perhaps" if near else f"unknown key; expected one of {', '.join(known)}"


def over(queues: Iterable[QueueSettings], chosen: PolicySet) -> tuple[QueueSettings, ...]:
    """The queues of the settings with a set laid over them.

    Raises:
        BadInput: the set names a queue that the settings do not have.

    """
    base = tuple(queues)
    known = [queue.name for queue in base]
    unknown = [name for name in chosen.queues if name != OTHERS and name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"{near[0]} was meant, perhaps" if near else f"the queues are: {', '.join(known)}"
        raise BadInput(
            f"the policy set names the queue {unknown[0]!r}, which the settings do not have; {hint}.",
            fix="Correct the name, or add the queue to the settings file and start the daemon anew.",
        )
    return tuple(_laid(queue, _given(queue, chosen)) for queue in base)


def _given(queue: QueueSettings, chosen: PolicySet) -> dict[str, Any]:
    may_wait = queue.urgency is not Urgency.CLINICAL and queue.policy != "asap"
    others = chosen.queues.get(OTHERS, {}) if may_wait else {}
    return chosen.queues.get(queue.name, others)


def _laid(queue: QueueSettings, given: dict[str, Any]) -> QueueSettings:
    """One queue with the given keys; parameters belong to a policy, and go with it."""
    fresh: dict[str, Any] = {"params": {}} if "policy" in given else {}
    return QueueSettings.model_validate({**queue.model_dump(), **fresh, **given})


def changes(before: Iterable[QueueSettings], after: Iterable[QueueSettings]) -> Changes:
    """What becomes another from one list of queues to the next, queue by queue in their order."""
    was = {queue.name: queue.model_dump(mode="json") for queue in before}
    found = []
    for queue in after:
        old, new = was.get(queue.name, {}), queue.model_dump(mode="json")
        found += [Change(queue.name, key, old.get(key), new[key]) for key in new if old.get(key) != new[key]]
    return tuple(found)


def as_yaml(queues: Iterable[QueueSettings], *, head: str = "") -> str:
    """A set that says all of these queues; ``head`` becomes a comment."""
    said = {queue.name: _said_of(queue) for queue in queues}
    told = yaml.safe_dump({"queues": said}, sort_keys=False, allow_unicode=True)
    return "".join(f"# {line}\n" for line in head.splitlines()) + told


def _said_of(queue: QueueSettings) -> dict[str, Any]:
    said = queue.model_dump(mode="json", exclude={"name"})
    return {key: value for key, value in said.items() if key != "params" or value}


@cache
def ready_made() -> dict[str, str]:
    """The sets that come with lowtide: name to the text of the file."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(SETS.glob("*.yaml"))}
