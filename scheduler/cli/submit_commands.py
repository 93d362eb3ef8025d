"""Commands that take a job: submit and plan."""

import inspect
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.client import Server
from lowtide.scheduler.cli.flags import FLAGS, Flag
from lowtide.scheduler.cli.output import check_format, say, show, warn
from lowtide.scheduler.cli.root import OUTPUT_HELP, app, target
from lowtide.scheduler.model.errors import BadInput

Json = dict[str, Any]
FIRST_DECISION_S = 3.0
"""How long submit waits for the first decision before it says that it is still being made."""
POLL_S = 0.1
WAIT_POLL_S = 1.0
ENDED = ("succeeded", "failed", "cancelled")

_JOB_PARAMETERS = (
    inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
    inspect.Parameter(
        "source",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=typer.Argument(None, metavar="JOB.yaml|script.sh", help="A job file or a script.", show_default=False),
        annotation=str | None,
    ),
)
_SUBMIT_FLAGS = (
    Flag("idempotency_key", ("--idempotency-key",), "The same key and job never submit twice.", metavar="KEY"),
    Flag("dry_run", ("--dry-run", "--test-only"), "Only plan, as 'lowtide plan' does.", kind="switch"),
    Flag("wait", ("--wait", "-W"), "Wait for the end; exit 1 unless it succeeded.", kind="switch"),
    Flag("timeout", ("--timeout",), "With --wait: give up waiting after this, exit 5.", metavar="TIME"),
    Flag("parsable", ("--parsable",), "Print the id alone.", kind="switch"),
)
_OUTPUT = Flag("output", ("--output", "-o"), OUTPUT_HELP, metavar="FORMAT")


def _parameter(flag: Flag) -> inspect.Parameter:
    annotations: dict[str, Any] = {"text": str | None, "many": list[str] | None, "switch": bool | None}
    option = typer.Option(None, *flag.spellings, help=flag.help, metavar=flag.metavar, show_default=False)
    return inspect.Parameter(
        flag.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotations[flag.kind]
    )


def _with_flags(*more: Flag) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a function of ``(ctx, source, **flags)`` the options of the table, so that Typer sees them."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        flags = [_parameter(flag) for flag in (*FLAGS, *more)]
        signature = inspect.Signature([*_JOB_PARAMETERS, *flags])
        function.__signature__ = signature  # type: ignore[attr-defined]  # the documented way to override it
        function.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        return function

    return decorate


@app.command(cls=quick.CommandWithTail, rich_help_panel="Jobs")
@_with_flags(*_SUBMIT_FLAGS, _OUTPUT)
def submit(ctx: typer.Context, source: str | None = None, **flags: Any) -> None:
    """Submit a job: a job file, a script, or a command after '--'.

    Flags override the file. In a script, #LOWTIDE lines hold the same flags, and the common #SBATCH lines are
    understood.
    """
    output = check_format(flags["output"] or "table")
    server = target(ctx).connect()
    body = _body(ctx, server, source, flags)
    if flags["dry_run"]:
        _show_plan(server, body, output)
        return
    key = flags["idempotency_key"]
    job = server.post("/v1/jobs", body, {"Idempotency-Key": key} if key else None)
    if flags["parsable"]:
        say(job["id"])
    else:
        _show_submitted(server, job, output)
    if flags["wait"]:
        raise typer.Exit(_wait(server, job["id"], flags["timeout"]))


@app.command(cls=quick.CommandWithTail, rich_help_panel="Jobs")
@_with_flags(_OUTPUT)
def plan(ctx: typer.Context, source: str | None = None, **flags: Any) -> None:
    """Show when and where a job would run if it were submitted now; submits nothing."""
    output = check_format(flags["output"] or "table")
    server = target(ctx).connect()
    _show_plan(server, _body(ctx, server, source, flags), output)


def _body(ctx: typer.Context, server: Server, source: str | None, flags: Json) -> Json:
    from lowtide.scheduler.cli.jobfile import job_body  # noqa: PLC0415 - status does not need it

    def directives(tokens: list[str]) -> Json:
        parsed = ctx.command.make_context("#LOWTIDE", list(tokens), parent=ctx.parent).params
        if parsed.get("source"):
            message = f"the #LOWTIDE line holds {parsed['source']!r}, which is no flag."
            raise BadInput(message, fix="Write flags only, for example: #LOWTIDE --gpus 2 --duration 3h")
        return parsed

    return job_body(
        source,
        ctx.meta.get(quick.CommandWithTail.TAIL),
        flags,
        directives=directives,
        now=lambda: datetime.fromisoformat(server.get("/v1/health")["now"]),
        warn=lambda sentence: warn(f"warning: {sentence}"),
    )


def _show_plan(server: Server, body: Json, output: str) -> None:
    from lowtide.scheduler.cli.plan_view import plan_text, whole  # noqa: PLC0415 - as above

    found = whole(server.post("/v1/plans", body))
    show(output, found, human=lambda: plan_text(found), rows=lambda: found["candidates"])


def _show_submitted(server: Server, job: Json, output: str) -> None:
    from lowtide.scheduler.cli.plan_view import submitted_text  # noqa: PLC0415 - as above

    def human() -> str:
        return submitted_text(job, _first_decision(server, job["id"]))

    show(output, job, human=human, rows=lambda: [job])


def _first_decision(server: Server, job_id: str) -> Json | None:
    """The plan that a job got right after it was accepted; None when it takes longer."""
    from lowtide.scheduler.cli.plan_view import whole  # noqa: PLC0415 - as above

    deadline = time.monotonic() + FIRST_DECISION_S
    while time.monotonic() < deadline:
        found = whole(server.get(f"/v1/jobs/{job_id}/explain"))
        if found["candidates"] or found["reason"]["code"] != "not_reviewed":
            return found
        time.sleep(POLL_S)
    return None


def _wait(server: Server, job_id: str, timeout: str | None) -> int:
    """Wait until a job has ended; its changes of state are told on standard error."""
    from lowtide.scheduler.cli.process import TIMEOUT_EXIT  # noqa: PLC0415 - as above

    deadline = None if timeout is None else time.monotonic() + _timeout_s(timeout)
    told = ""
    while True:
        job = server.get(f"/v1/jobs/{job_id}")
        sentence = f"{job_id} is {job['state']}: {job['reason']['sentence']}"
        if sentence != told:
            warn(sentence)
            told = sentence
        if job["state"] in ENDED:
            return 0 if job["state"] == "succeeded" else 1
        if deadline is not None and time.monotonic() > deadline:
            warn(f"{job_id} has not ended after {timeout}; it goes on. See: lowtide status {job_id}")
            return TIMEOUT_EXIT
        time.sleep(WAIT_POLL_S)


def _timeout_s(text: str) -> float:
    from lowtide.scheduler.model.quantity import duration_s  # noqa: PLC0415 - as above

    try:
        return duration_s(text)
    except ValueError as error:
        raise BadInput(f"--timeout: {error}.", fix="Give for example --timeout 2h.") from None
