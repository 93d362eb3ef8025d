"""The process: takes the data directory, binds the port, serves the API and ends cleanly.

python -m lowtide.scheduler.control.daemon --data-dir DIR [--config FILE] [--port N]
"""

import argparse
import asyncio
import fcntl
import gc
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, TextIO

import structlog
import uvicorn

from lowtide.policies.warm import warm
from lowtide.scheduler.api.app import create_app
from lowtide.scheduler.control.assemble import Daemon
from lowtide.scheduler.control.clock import Anchor, Clock
from lowtide.scheduler.metrics import Metrics
from lowtide.scheduler.model.errors import LowtideError, StartFailure
from lowtide.scheduler.settings import Settings, SiteSettings, load

log = structlog.get_logger()
LOCAL_CPUS = max(2, os.cpu_count() or 2)


def take_data_dir(data_dir: Path) -> IO[str]:
    """Lock the data directory for this process; the lock ends with the process, however it ends.

    Raises:
        StartFailure: another daemon holds it, or it cannot be written.

    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (data_dir / "lock").open("a+")
    except OSError as error:
        message = f"the data directory {data_dir} cannot be used: {error.strerror}."
        raise StartFailure(message, fix="Choose another with --data-dir.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        message = f"another daemon (process {owner}) uses the data directory {data_dir}."
        raise StartFailure(message, fix="Stop it with 'lowtide down', or choose another with --data-dir.") from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; StartFailure when the port is in use."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # whoever reads daemon.json may call at once and waits for the first answer
    except OSError as error:
        listener.close()
        message = f"the port {port} on {host} cannot be had: {error.strerror}."
        raise StartFailure(message, fix="Choose another with --port, or 0 for any free one.") from None
    return listener


def token_of(data_dir: Path) -> str:
    """The bearer token; made at the first start, readable by its owner alone."""
    path = data_dir / "token"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
    if path.stat().st_mode & 0o077:
        message = f"{path} can be read by others."
        raise StartFailure(message, fix=f"Run: chmod 600 {path}")
    return path.read_text().strip()


def with_local_site(settings: Settings, *, zone: str, gpus: int) -> Settings:
    """The settings, with a private local cluster where no site is configured."""
    if settings.sites:
        return settings
    local = SiteSettings(name="local", zone=zone, gpus=gpus, cpus=LOCAL_CPUS)
    return settings.model_copy(update={"sites": (local,)})


class Process:
    """One run of the daemon, from the lock to the last connection."""

    def __init__(self, settings: Settings, anchor: Anchor | None = None) -> None:
        """Lock, bind and build; raises a LowtideError when the daemon cannot start."""
        self._lock = take_data_dir(settings.data_dir)
        self._listener = bind(settings.host, settings.port)
        self.url = f"http://{settings.host}:{self._listener.getsockname()[1]}"
        self._settings, self._stop_cluster = settings, False
        self.clock = Clock(anchor)
        self.metrics = Metrics(version=version("lowtide"))
        self.daemon = Daemon(
            settings,
            self.clock,
            url=lambda: self.url,
            shutdown=self._shutdown,
            cycled=self.metrics.cycled,
        )
        self.metrics.watch(self.daemon)
        app = create_app(
            self.daemon.service,
            token=token_of(settings.data_dir),
            metrics=self.metrics.render,
            now=self.clock.now,
        )
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)

    def _shutdown(self, stop_cluster: bool) -> None:  # noqa: FBT001 - the service's callback
        self._stop_cluster = stop_cluster
        self._server.should_exit = True

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until told to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._shutdown, False)
        await asyncio.to_thread(warm)
        self.daemon.start()
        # the first sums read the whole store: better before anybody waits for them
        self.daemon.background.once(asyncio.to_thread(self.metrics.render), "metrics")
        self._announce()
        log.info("serving", url=self.url, data_dir=str(self._settings.data_dir))
        ready()
        await self._server._serve(sockets=[self._listener])  # noqa: SLF001 - serve() would take our signals over
        await self.daemon.stop(stop_cluster=self._stop_cluster)
        (self._settings.data_dir / "daemon.json").unlink(missing_ok=True)
        self._lock.close()
        goes_on = self.daemon.local is not None and not self._stop_cluster
        log.info("ended", **({"private_cluster": "goes on with its jobs; 'lowtide down' ends it"} if goes_on else {}))

    def _announce(self) -> None:
        """Tell clients where we are; replaced whole, so that nobody reads half of it."""
        path = self._settings.data_dir / "daemon.json"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps({"url": self.url, "pid": os.getpid()}))
        scratch.rename(path)


def set_up_log(data_dir: Path, level: str, *, foreground: bool) -> None:
    """JSON lines to the data directory; a person in the foreground sees them in colour as well."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamped = structlog.processors.TimeStamper(fmt="iso", utc=True)
    render: structlog.typing.Processor = structlog.processors.JSONRenderer()
    target: TextIO = (data_dir / "lowtide.log").open("a", buffering=1)
    if foreground:
        # plain tracebacks: pretty ones show local variables, and a local variable may be the token
        plain = structlog.dev.plain_traceback
        render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        target = sys.stderr
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamped, structlog.processors.format_exc_info, render],
        logger_factory=structlog.WriteLoggerFactory(file=target),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def run(settings: Settings, anchor: Anchor | None = None) -> int:
    """Run a daemon in this process; returns the exit code."""
    try:
        process = Process(settings, anchor)
    except LowtideError as error:
        print(f"lowtide: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    keep_answering()
    import uvloop  # noqa: PLC0415 - only the serving process needs it

    try:
        uvloop.run(process.run())
    except LowtideError as error:
        log.exception("start_failed")
        print(f"lowtide: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def keep_answering() -> None:
    """Let answers through while a large queue is planned on another thread of this process.

    Measured at 300 submissions a second beside 7,000 waiting jobs: a thread that wants the interpreter waited 5 ms at
    each hand-over, a dozen times for one submission, and a full collection stopped everything for up to 85 ms. With
    both settings the 99th percentile fell from 180 to under 50 ms.
    """
    sys.setswitchinterval(0.0005)
    gc.freeze()  # what was imported stays anyway
    gc.set_threshold(100_000, 50, 100)


def anchor_of(data_dir: Path, rate: float, start: str | None) -> Anchor | None:
    """The anchor of a time-lapse, kept in the data directory so that a restart goes on where it was."""
    path = data_dir / "clock.json"
    if path.exists():
        return Anchor(**json.loads(path.read_text()))
    if rate == 1.0 and start is None:
        return None
    begin = datetime.fromisoformat(start).timestamp() if start else time.time()
    anchor = Anchor(time.time(), begin, rate)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    values = {"wall_s": anchor.wall_s, "clock_s": anchor.clock_s, "rate": anchor.rate}
    path.write_text(json.dumps(values))
    return anchor


def main(argv: list[str] | None = None) -> int:
    """The command line of the process; people use ``lowtide up``."""
    parser = argparse.ArgumentParser(prog="lowtide-daemon", description="The lowtide daemon.")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--zone", default="", help="grid zone of the local cluster when no site is configured")
    parser.add_argument("--gpus", type=int, default=0, help="logical GPUs of the local cluster")
    parser.add_argument("--clock-rate", type=float, default=1.0, help="clock seconds per second (time-lapse)")
    parser.add_argument("--clock-start", help="ISO time at which a time-lapse begins")
    parser.add_argument("--foreground", action="store_true")
    options = parser.parse_args(argv)
    try:
        settings = load(options.config, data_dir=options.data_dir, port=options.port)
    except LowtideError as error:
        print(f"lowtide: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    settings = with_local_site(settings, zone=options.zone, gpus=options.gpus)
    set_up_log(settings.data_dir, settings.log_level, foreground=options.foreground)
    return run(settings, anchor_of(settings.data_dir, options.clock_rate, options.clock_start))


if __name__ == "__main__":
    sys.exit(main())
