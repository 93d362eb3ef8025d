"""What a job waits for: other jobs that must have ended before it begins, in the words of Slurm."""

from dataclasses import dataclass
from enum import StrEnum

DEPENDENCY_HELP = "write afterok:JOB (it must have succeeded first) or afterany:JOB (it must have ended first)"
MAX_DEPENDENCIES = 1000
"""More are a generated mistake; each is looked up at submission."""


class After(StrEnum):
    """``afterok``: it has succeeded; ``afterany``: it has ended, however."""

    OK = "afterok"
    ANY = "afterany"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One job that must have ended, and how."""

    after: After
    job_id: str

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.after.value}:{self.job_id}"


def dependencies(value: object) -> tuple[Dependency, ...]:
    """Dependencies from one text or several, such as ``afterok:mri-1:mri-2,afterany:prep-7``; each once, in order.

    An id without a condition before it goes on under the last one, so that ``afterok:a,b`` waits for both.

    Raises:
        ValueError: a condition that is not known, alternatives (``?``), no id, or a job that is named both ways.

    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str | Dependency) for text in texts):
        message = f"{str(value)[:80]!r} is neither text nor a list of it; {DEPENDENCY_HELP}"
        raise ValueError(message)
    found = tuple(dict.fromkeys(one for text in texts for one in _read(str(text))))
    if len(found) > MAX_DEPENDENCIES or len({one.job_id for one in found}) < len(found):
        what = f"more than {MAX_DEPENDENCIES} jobs" if len(found) > MAX_DEPENDENCIES else "a job both ways"
        message = f"waits for {what}; name each of at most {MAX_DEPENDENCIES} once"
        raise ValueError(message)
    return found


def _read(text: str) -> list[Dependency]:
    if "?" in text:
        message = f"{text[:80]!r} asks for one of several jobs; all are waited for, so {DEPENDENCY_HELP}"
        raise ValueError(message)
    found: list[Dependency] = []
    for part in text.split(","):
        head, *ids = (word.strip() for word in part.split(":"))
        after = _after(head, text) if ids else found[-1].after if found else None
        named = ids or [head]
        if after is None or not all(named):
            message = f"{text[:80]!r} names no condition or no job; {DEPENDENCY_HELP}"
            raise ValueError(message)
        found += [Dependency(after, job_id) for job_id in named]
    return found


def _after(word: str, text: str) -> After:
    try:
        return After(word.lower())
    except ValueError:
        message = f"{word[:40]!r} in {text[:80]!r} is no condition that is known; {DEPENDENCY_HELP}"
        raise ValueError(message) from None
