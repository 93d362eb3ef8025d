"""Starting and ending the daemon from the command line."""

import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowtide.scheduler.cli.client import Json, Server, connect, data_dir, is_listening, recorded, token_in
from lowtide.scheduler.cli.output import say, warn
from lowtide.scheduler.cli.table import commands, facts, flow
from lowtide.scheduler.cli.words import count
from lowtide.scheduler.model.errors import LowtideError, StartFailure

MODULE = "lowtide.scheduler.control.daemon"
READY_S = 90.0
"""A local Ray cluster takes about 6 s to start; a slow disk has been seen to need a minute."""
END_S = 60.0
POLL_S = 0.05
TELL_S = 1.0
TIMEOUT_EXIT = 5
WORDS = 1000
CODES = re.compile(r"\x1b\[[0-9;]*m")


class TookTooLong(LowtideError):
    """Something was asked for and did not happen in time."""

    slug, title, status, exit_code = "timeout", "Took too long", 504, TIMEOUT_EXIT


def daemon_command(folder: Path, options: dict[str, Any]) -> list[str]:
    """The command that runs the daemon; options that are None are left to its settings."""
    command = [sys.executable, "-m", MODULE, "--data-dir", str(folder)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name}", str(value)]
    return command


def running(folder: Path) -> Json | None:
    """The health of the daemon that owns a data directory; None when none answers."""
    found = recorded(folder)
    if found is None or not is_listening(str(found["url"])):
        return None
    try:
        health: Json = Server(str(found["url"]), "").get("/v1/health")
    except LowtideError:
        return None  # something else took over the port after a crash
    return health if health.get("pid") == found.get("pid") else None


def run_in_foreground(folder: Path, options: dict[str, Any]) -> None:
    """Become the daemon."""
    _refuse_if_running(folder)
    command = [*daemon_command(folder, options), "--foreground"]
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module


def _refuse_if_running(folder: Path) -> None:
    health = running(folder)
    if health is not None:
        message = f"another daemon (process {health['pid']}) uses the data directory {folder}, at {health['url']}."
        raise StartFailure(message, fix="End it with: lowtide down. Or choose another with --data-dir.")


def run_detached(folder: Path, options: dict[str, Any]) -> Json:
    """Start the daemon in a session of its own and return its health once it is ready.

    Raises:
        StartFailure: it ended; its own words are in the message.
        TookTooLong: it runs, but did not become ready in time.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    spoken = folder / "start.log"
    pid = _spawn(daemon_command(folder, options), spoken)
    deadline, wait = time.monotonic() + READY_S, _Wait()
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            raise _ended(spoken, folder, os.waitstatus_to_exitcode(status))
        health = running(folder)
        if health is not None and health["pid"] == pid:
            if health["status"] != "starting":
                return health
            wait.tell(health)
        time.sleep(POLL_S)
    raise TookTooLong(
        f"the daemon (process {pid}) is not ready after {READY_S:.0f} s; it waits for {wait.what}.",
        fix=f"It goes on starting; look in {folder / 'lowtide.log'}, or end it with: lowtide down.",
    )


class _Wait:
    """What a starting daemon waits for; a person is told of what takes longer than a moment."""

    def __init__(self) -> None:
        self.what, self._since, self._told = "its API to open", time.monotonic(), ""

    def tell(self, health: Json) -> None:
        """Take news of the daemon."""
        what = "; ".join(health.get("waits_for") or [])
        if what != self.what:
            self.what, self._since = what, time.monotonic()
        elif what != self._told and time.monotonic() - self._since >= TELL_S:
            self._told = what
            warn(f"Waiting for {what}")


def _spawn(command: list[str], spoken: Path) -> int:
    """Start a process in a session of its own, its words going to a file; it outlives this one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(spoken), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)


def _ended(spoken: Path, folder: Path, code: int) -> StartFailure:
    """The daemon's own last words; a person reads them, so terminal codes and all but one message are cut."""
    said = CODES.sub("", spoken.read_text(errors="replace")).rpartition("lowtide: ")[2]
    words = " ".join(said.split())[:WORDS] or f"it ended with code {code} and said nothing."
    return StartFailure(f"the daemon did not start: {words}", fix=f"The log is {folder / 'lowtide.log'}.")


def up_text(
    health: Json, *, already: bool, troubles: Sequence[str] = (), unheeded: Sequence[str] = (), prefix: str = ""
) -> str:
    """Where the daemon is, what it serves, and what to type next.

    Args:
        health: what the daemon says of itself.
        already: it ran before.
        troubles: what is wrong with its grid data.
        unheeded: options that a daemon which ran before has not seen.
        prefix: options that every command needs to find this daemon.

    """
    sites = [
        f"{site['name']}: zone {site.get('zone') or 'none (carbon-blind)'}{_region(site)}"
        f"{_source(site)}, {count(int(site.get('gpus') or 0), 'GPU')}{_trouble(site)}"
        for site in health["sites"]
    ]
    head = "lowtide already runs." if already else "lowtide is up."
    if unheeded:
        head = f"lowtide already runs, without {' '.join(unheeded)}: to change it, lowtide {prefix}down and up again."
    rate = float(health.get("clock_rate") or 1)
    known = [
        ("address", str(health["url"])),
        ("data", str(health["data_dir"])),
        ("process", str(health["pid"])),
        ("state", str(health["status"])),
        ("clock", "" if rate == 1 else f"time-lapse, 1 s is {rate:.0f} s"),
        ("policies", str(health.get("policy_set") or "")),
        *[("site", site) for site in sites],
        *[("grid", trouble) for trouble in troubles],
    ]
    following = commands([(f"lowtide {prefix}{words}", what) for words, what in NEXT])
    return "\n".join([flow(head), facts(known), "Next:", following])


NEXT = (
    ("submit -- python train.py", "submit a job"),
    ("forecast", "see the grid"),
    ("status", "see the queue"),
    ("down", "end the daemon"),
)


def prefix_of(folder: Path) -> str:
    """The options with which a command finds the daemon of a folder; none for the usual one."""
    return "" if folder == data_dir(None).resolve() else f"--data-dir {shlex.quote(str(folder))} "


def grid_troubles(folder: Path, health: Json) -> list[str]:
    """For each zone without a usable forecast, why that is and what it means for jobs."""
    server = Server(str(health["url"]), token_in(folder))
    told = []
    for zone in sorted({site["zone"] for site in health["sites"] if site.get("zone")}):
        try:
            found = server.get("/v1/forecast", zone=zone, hours=1)
        except LowtideError:
            continue  # the daemon is up, which is what was asked; doctor says more
        if found["trouble"]:
            why = str(found["trouble"]).rstrip(".")
            told.append(f"{zone} has no live data: {why}. {MEANWHILE.get(found['rung'], '')}".strip())
    return told


MEANWHILE = {
    "static_average": "Jobs run at once, and are counted at a yearly average, until it answers.",
    "blind": "Jobs run at once until it answers.",
    "climatology": "What was usual at that time of day serves until it answers.",
    "cached_forecast": "The last forecast serves until it is too old.",
}


def _source(site: Json) -> str:
    source = site.get("grid_source")
    meaning = ", ".join(str(site[key]) for key in ("signal", "basis") if site.get(key))
    return f" from {source}{f' ({meaning})' if meaning else ''}" if source else ""


def _region(site: Json) -> str:
    return f" for {site['region']}" if site.get("region") else ""


def _trouble(site: Json) -> str:
    return f" - cannot be used yet: {site['trouble']}" if site.get("trouble") else ""


def end(server: str | None, directory: str | None, folder: Path, *, keep_cluster: bool) -> None:
    """End the daemon and wait until it is gone."""
    remote = server or os.environ.get("LOWTIDE_SERVER")
    health = None if remote else running(folder)
    if health is None and not remote:
        say(flow(_without_daemon(folder, keep_cluster=keep_cluster)))
        return
    daemon = connect(server, directory)
    daemon.post("/v1/shutdown", {"stop_cluster": not keep_cluster})
    deadline = time.monotonic() + END_S
    while is_listening(daemon.url) or (health is not None and recorded(folder) is not None):
        if time.monotonic() > deadline:
            message = f"the daemon at {daemon.url} was told to end and still runs after {END_S:.0f} s."
            raise TookTooLong(message, fix=f"Look in {folder / 'lowtide.log'}.")
        time.sleep(POLL_S)
    kept = "The local cluster and its jobs go on." if keep_cluster else "A private local cluster is ended with it."
    say(flow(f"lowtide is down. {kept} Accepted jobs are kept and go on at the next start."))


def _without_daemon(folder: Path, *, keep_cluster: bool) -> str:
    """End what a daemon that died has left behind: its private cluster would hold memory and run jobs for ever."""
    if keep_cluster or not (folder / "ray" / "cluster.json").exists():
        return f"No daemon runs on {folder}."
    from lowtide.connectors.cluster.local_ray import LocalRay  # noqa: PLC0415 - for this rare case alone
    from lowtide.scheduler.control.daemon import take_data_dir  # noqa: PLC0415 - as above

    with take_data_dir(folder):  # no daemon is starting just now
        cluster = LocalRay(folder, gpus=0, cpus=0)
        was_alive = cluster.is_alive()
        cluster.stop()
    told = "The private cluster that its last one had left is ended." if was_alive else ""
    return f"No daemon runs on {folder}. {told}".rstrip()


def local_findings(folder: Path) -> list[Json]:
    """What doctor can say when no daemon answers."""
    found = recorded(folder)
    token = folder / "token"
    checks = [
        _finding("data directory", "ok" if folder.is_dir() else "warn", str(folder), "It is made by: lowtide up"),
        _finding("token", "ok" if token.exists() else "warn", str(token), "It is made by: lowtide up"),
    ]
    if found is None:
        detail = "no daemon has left its address here"
        return [*checks, _finding("daemon", "fail", detail, "Start it with: lowtide up --detach")]
    alive = _is_alive(int(found.get("pid") or 0))
    detail = f"process {found.get('pid')} {'lives but does not answer' if alive else 'is gone'} at {found['url']}"
    return [*checks, _finding("daemon", "fail", detail, f"Look in {folder / 'lowtide.log'}, then: lowtide up --detach")]


def _finding(check: str, status: str, detail: str, fix: str) -> Json:
    return {"check": check, "status": status, "detail": detail, "fix": "" if status == "ok" else fix}


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
