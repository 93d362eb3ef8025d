"""The directives in a script: our own ``#LOWTIDE`` lines and the common ``#SBATCH`` ones.

Slurm's lines keep Slurm's meaning: a bare number in --time is minutes, in --mem megabytes. A line that
has no counterpart here is reported, so that nobody believes it was heeded.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lowtide.scheduler.model.errors import BadInput
from lowtide.scheduler.model.job import slug

Json = dict[str, Any]
SHORT = {
    "J": "job-name",
    "p": "partition",
    "A": "account",
    "G": "gpus",
    "c": "cpus-per-task",
    "t": "time",
    "b": "begin",
    "D": "chdir",
    "n": "ntasks",
    "N": "nodes",
    "o": "output",
    "e": "error",
    "H": "hold",
    "a": "array",
    "d": "dependency",
    "C": "constraint",
    "q": "qos",
    "w": "nodelist",
    "x": "exclude",
}
ONE = ("nodes", "ntasks", "ntasks-per-node")
"""Options whose value 1 is what happens here anyway."""
CHANGES_MEANING = ("array", "hold", "nodes", "ntasks", "ntasks-per-node", "constraint")


@dataclass(slots=True)
class Script:
    """What a script asks for: keys of a job from #SBATCH, option words from #LOWTIDE, sentences on the rest."""

    job: Json = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def read_script(text: str) -> Script:
    """Read the directives above the first command of a script."""
    script = Script()
    for line in text.splitlines():
        plain = line.strip()
        if plain and not plain.startswith("#"):
            break  # as sbatch: directives after the first command are comments
        for word, take in (("#SBATCH", _take_sbatch), ("#LOWTIDE", _take_ours)):
            if plain.startswith(f"{word} "):
                take(script, _words(plain.removeprefix(word), plain))
    return script


def _words(text: str, line: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError as error:
        message = f"the line {line[:100]!r} cannot be read: {error}."
        raise BadInput(message, fix="Close the quotes.") from None


def _take_ours(script: Script, words: list[str]) -> None:
    script.tokens += words


def _take_sbatch(script: Script, words: list[str]) -> None:
    while words:
        name, value = _next_option(words)
        _translate(script, name, value)


def _next_option(words: list[str]) -> tuple[str, str]:
    """Take one option and its value off the words: --name=value, --name value, -Nvalue or -N value."""
    word = words.pop(0)
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
    elif word.startswith("-") and len(word) > 1:
        name, value = SHORT.get(word[1], word[:2]), word[2:].removeprefix("=")
        equals = value
    else:
        return word, ""
    if not equals and words and not words[0].startswith("-"):
        value = words.pop(0)
    return name, value


def _translate(script: Script, name: str, value: str) -> None:
    if name in ONE and value == "1":
        return
    translate = TRANSLATIONS.get(name)
    if translate is None:
        weight = "this changes what would run" if name in CHANGES_MEANING else "it has no counterpart here"
        script.ignored.append(f"#SBATCH --{name.lstrip('-')} is ignored; {weight}.")
        return
    for key, found in translate(value).items():
        if key == "resources":
            script.job[key] = dict(script.job.get(key, {})) | found
        else:
            script.job[key] = found


def slurm_time(text: str) -> str:
    """A duration in our own grammar from Slurm's: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    if re.fullmatch(r"\d+", text):
        return f"{text}m"
    if match := re.fullmatch(r"(\d+):([0-5]?\d)", text):
        return f"{match[1]}m{match[2]}s"
    return text


def slurm_memory(text: str) -> str:
    """A size in our own grammar; Slurm's bare number is megabytes, and its units are powers of 1024."""
    return f"{text}M" if re.fullmatch(r"\d+", text) else text.removesuffix("B").removesuffix("b")


def _gpus(text: str) -> Json:
    """GPUs from 2, a100:2, gpu:2 or gpu:a100:2."""
    parts = [part for part in text.split(":") if part != "gpu"]
    number = parts[-1] if parts and parts[-1].isdigit() else "1"
    model = parts[0] if parts and not parts[0].isdigit() else None
    found: Json = {"gpus": int(number)}
    return {"resources": found | ({"gpu_model": model} if model else {})}


def _count(text: str) -> int | str:
    """A number as such; anything else is left to the daemon to refuse."""
    return int(text) if text.isdigit() else text


TRANSLATIONS: dict[str, Callable[[str], Json]] = {
    "job-name": lambda value: {"name": slug(value)},
    "partition": lambda value: {"queue": value},
    "account": lambda value: {"project": value},
    "gpus": _gpus,
    "gres": _gpus,
    "gpus-per-node": _gpus,
    "cpus-per-task": lambda value: {"resources": {"cpus": _count(value)}},
    "mem": lambda value: {"resources": {"memory": slurm_memory(value)}},
    "time": lambda value: {"time_limit": slurm_time(value)},
    "begin": lambda value: {"begin": value},
    "dependency": lambda value: {"depends_on": value},
    "deadline": lambda value: {"deadline": value},
    "chdir": lambda value: {"working_dir": value},
    "requeue": lambda _value: {"retries": 2},
    "no-requeue": lambda _value: {"retries": 0},
}
