"""From a job file, a script, flags and a command to the body of a submission.

The daemon checks the values; here they are only joined (file first, then directives, then flags) and
what only this machine knows is filled in: the current directory and the local time zone.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lowtide.scheduler.cli.script_lines import read_script
from lowtide.scheduler.model.errors import BadInput, TooLarge
from lowtide.scheduler.model.job import slug
from lowtide.scheduler.model.quantity import moment

Json = dict[str, Any]
MAX_FILE_BYTES = 256 * 1024
SCRIPT_SUFFIXES = (".sh", ".bash", ".sbatch", ".slurm", ".job")
DATA_SUFFIXES = (".yaml", ".yml", ".json")
PLAIN_KEYS = {
    "name": "name",
    "queue": "queue",
    "project": "project",
    "duration": "duration",
    "time_limit": "time_limit",
    "begin": "begin",
    "deadline": "deadline",
    "deadline_action": "deadline_action",
    "patience": "patience",
    "interruptible": "interruptible",
    "own_checkpoints": "own_checkpoints",
    "checkpoint_interval": "checkpoint_interval",
    "grace": "grace",
    "urgency": "urgency",
    "widths": "widths",
}
LIST_KEYS = {"dependency": "depends_on", "data": "data", "residency": "residency"}
Flags = Mapping[str, Any]


def job_body(
    source: str | None,
    tail: list[str] | None,
    flags: Flags,
    *,
    directives: Callable[[list[str]], Flags],
    now: Callable[[], datetime],
    warn: Callable[[str], None],
) -> Json:
    """The job as the daemon takes it.

    Args:
        source: a job file or a script, or None.
        tail: the program and its arguments after ``--``, or None.
        flags: values of the options; None where one was not given.
        directives: reads the options in ``#LOWTIDE`` lines into the same mapping.
        now: the daemon's present, asked only for a clock time such as 16:00.
        warn: takes a sentence about something that is ignored.

    Raises:
        BadInput: nothing to run, two things to run, or a value that cannot be read.

    """
    if source and tail:
        message = f"there are two things to run: {source} and the command after '--'."
        raise BadInput(message, fix="Keep one of them.")
    body: Json = {}
    if source:
        body = _from_source(Path(source), directives=directives, warn=warn)
    elif tail:
        body = {"entrypoint": list(tail), "working_dir": str(Path.cwd()), "name": slug(Path(tail[0]).name)}
    _apply(body, flags)
    if "entrypoint" not in body and "script" not in body:
        raise BadInput(
            "there is nothing to run.",
            fix="Give a job file, a script, or a command: lowtide submit -- python train.py",
        )
    _resolve_times(body, now)
    return body


def _from_source(path: Path, *, directives: Callable[[list[str]], Flags], warn: Callable[[str], None]) -> Json:
    text = _read(path)
    if path.suffix in DATA_SUFFIXES:
        return _job_file(path, text)
    if path.suffix in SCRIPT_SUFFIXES or text.startswith("#!"):
        script = read_script(text)
        for sentence in script.ignored:
            warn(f"{path}: {sentence}")
        body = {"script": text, "name": slug(path.stem), "working_dir": str(Path.cwd())} | script.job
        _apply(body, directives(script.tokens) if script.tokens else {})
        return body
    known = f"a job file ({', '.join(DATA_SUFFIXES)}) nor a script ({', '.join(SCRIPT_SUFFIXES)} or a first line '#!')"
    message = f"{path} is neither {known}."
    raise BadInput(message, fix=f"To run a program: lowtide submit -- {path}")


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            message = f"{path} is larger than {MAX_FILE_BYTES // 1024} KiB."
            raise TooLarge(message, fix="Put scripts and data into the working directory.")
        return path.read_text()
    except FileNotFoundError:
        message = f"{path} does not exist."
        is_data = path.suffix in DATA_SUFFIXES
        fix = "Give the path of an existing file." if is_data else f"To run a program: lowtide submit -- {path} ..."
        raise BadInput(message, fix=fix) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read as text: {error}."
        raise BadInput(message, fix="Give a job file or a script.") from None


def _job_file(path: Path, text: str) -> Json:
    body = read_yaml(path, text)
    folder = body.get("working_dir")
    if isinstance(folder, str):
        body["working_dir"] = str((path.parent / Path(folder).expanduser()).resolve())
    body.setdefault("name", slug(path.stem))
    return body


def read_yaml(path: Path, text: str) -> Json:
    """A YAML or JSON mapping; times stay text, so that 16:00 is not read as 960.

    Raises:
        BadInput: no YAML, or no mapping.

    """
    import yaml  # noqa: PLC0415 - only who submits a file pays for it

    class Loader(yaml.SafeLoader):
        """YAML 1.1 reads 16:00 as a number in base 60 and dates as objects; job files mean text."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9]\d*)$"), list("-+0123456789"))
    number = re.compile(r"[-+]?((\d+\.\d*|\.\d+)(e[-+]?\d+)?|\d+e[-+]?\d+|\.(inf|nan))$", re.IGNORECASE)
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    try:
        found = yaml.load(text, Loader=Loader)  # noqa: S506 - Loader is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = f"{path} is not YAML: {str(error)[:400]}."
        raise BadInput(message, fix="Mend the file; lowtide plan checks it without submitting.") from None
    if not isinstance(found, dict):
        message = f"{path} holds {type(found).__name__}, expected keys such as 'name:' and 'entrypoint:'."
        raise BadInput(message, fix="The schema JobFile in the daemon's /v1/openapi.json describes every key.")
    return {str(key): value for key, value in found.items()}


_REPLACED = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}


def _apply(body: Json, flags: Flags) -> None:
    """Lay the given flags over the body."""
    for flag, key in PLAIN_KEYS.items():
        if flags.get(flag) is not None:
            body[key] = flags[flag]
    if flags.get("deadline") is not None:
        body.pop("patience", None)
    if flags.get("patience") is not None:
        body.pop("deadline", None)
    _apply_resources(body, flags)
    _apply_numbers(body, flags)
    for flag, key in (("env", "env"), ("label", "labels")):
        if flags.get(flag):
            body[key] = dict(body.get(key) or {}) | dict(_pair(flag, text) for text in flags[flag])
    for flag, key in LIST_KEYS.items():
        if flags.get(flag):
            body[key] = list(flags[flag])
    if flags.get("max_slowdown") is not None:
        body["power"] = {"max_slowdown": flags["max_slowdown"]}
    _apply_directory(body, flags)


def _apply_resources(body: Json, flags: Flags) -> None:
    resources = dict(body.get("resources") or {})
    if flags.get("gpus") is not None:
        model, _, number = str(flags["gpus"]).rpartition(":")
        resources["gpus"] = _whole("--gpus", number)
        if model:
            resources["gpu_model"] = model
    if flags.get("cpus") is not None:
        resources["cpus"] = _whole("--cpus", flags["cpus"])
    if flags.get("mem") is not None:
        resources["memory"] = flags["mem"]
    if resources:
        body["resources"] = resources


def _apply_numbers(body: Json, flags: Flags) -> None:
    if flags.get("retries") is not None:
        body["retries"] = _whole("--retries", flags["retries"])
    if flags.get("power_w") is not None:
        try:
            body["power_w"] = float(flags["power_w"])
        except ValueError:
            message = f"--power-w {flags['power_w']!r} is no number."
            raise BadInput(message, fix="Give watts, for example --power-w 350.") from None


def _apply_directory(body: Json, flags: Flags) -> None:
    if flags.get("workdir") is not None:
        body["working_dir"] = str(Path(flags["workdir"]).expanduser().resolve())
    if flags.get("no_workdir"):
        body.pop("working_dir", None)
    if flags.get("runtime_env") is not None:
        path = Path(flags["runtime_env"])
        body["runtime_env"] = read_yaml(path, _read(path))


def _whole(flag: str, text: Any) -> int:
    try:
        return int(text)
    except ValueError:
        message = f"{flag} {text!r} is no whole number."
        raise BadInput(message, fix=f"Give for example {flag} 2.") from None


def _pair(flag: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        message = f"--{flag} {text[:80]!r} is not KEY=VALUE."
        raise BadInput(message, fix=f"Write for example --{flag} EPOCHS=10.")
    return name, value


def _resolve_times(body: Json, now: Callable[[], datetime]) -> None:
    """Turn clock times into moments: they are meant in the zone of the person who types them."""
    for key in ("begin", "deadline"):
        text = body.get(key)
        if not isinstance(text, str) or text.lower().startswith("now"):
            continue
        local = datetime.now().astimezone().tzinfo
        try:
            body[key] = moment(text, now=now(), zone=local).isoformat()
        except ValueError as error:
            message = f"{key}: {error}."
            raise BadInput(message, fix="Mend it and submit again.") from None
