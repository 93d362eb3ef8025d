"""Commands about existing jobs: status, explain, logs, and the orders."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.client import PAGE, Server, resolve
from lowtide.scheduler.cli.output import check_format, say, show, warn
from lowtide.scheduler.cli.root import JobArgument, JobsArgument, Output, app, target
from lowtide.scheduler.model.errors import BadInput, LowtideError

Json = dict[str, Any]
OPEN_STATES = ("queued", "starting", "running", "suspending", "suspended")
WATCH_S = 2.0
SHOWN = 200
"""More lines than anybody reads; keeps status quick when thousands wait."""
CLEAR = "\x1b[H\x1b[2J"
Name = Annotated[str | None, typer.Option("--name", "-n", metavar="NAME", help="Jobs of this name.")]


def status(
    ctx: typer.Context,
    jobs: JobsArgument = None,
    *,
    every: Annotated[bool, typer.Option("--all", "-a", help="Ended jobs as well.")] = False,
    name: Name = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="Jobs of this queue.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show again every 2 s until Ctrl-C.")] = False,
    output: Output = "table",
) -> None:
    """List jobs: state, reason, planned start, slack and emissions.

    A time with ~ is planned; one in parentheses is where the patience ends, not a deadline. A narrow terminal
    gets fewer columns and shorter reasons: -o wide shows all, lowtide explain JOB the whole reason.
    """
    check_format(output)
    server = target(ctx).connect()
    while True:
        shown = SHOWN if output in {"table", "wide"} else None
        found = _listed(server, jobs or [], every=every, name=name, queue=queue, at_most=shown)
        if watch and sys.stdout.isatty():
            typer.echo(CLEAR, nl=False)
        _show_jobs(found, output, every=every)
        if not watch:
            return
        time.sleep(WATCH_S)


def _listed(
    server: Server,
    wanted: Sequence[str],
    *,
    every: bool,
    name: str | None,
    queue: str | None,
    at_most: int | None = None,
) -> list[Json]:
    """The jobs that were asked for; a person gets the newest ``at_most`` and is told when there are more."""
    if wanted:
        return [server.get(f"/v1/jobs/{resolve(server, one)}") for one in wanted]
    states = None if every else list(OPEN_STATES)
    if at_most is None:
        return server.items("/v1/jobs", state=states, name=name, queue=queue, limit=PAGE)
    page = server.get("/v1/jobs", state=states, name=name, queue=queue, limit=at_most)
    if page["next"] is not None:
        warn(f"Only the newest {at_most} jobs are shown; -o json, yaml or csv lists all.")
    found: list[Json] = page["items"]
    return found


def _show_jobs(jobs: list[Json], output: str, *, every: bool) -> None:
    from lowtide.scheduler.cli.listing import flat, job_table  # noqa: PLC0415 - JSON needs no columns

    def human() -> str:
        if jobs:
            return job_table(jobs, wide=output == "wide")
        if every:
            return "There are no jobs yet. Submit one with: lowtide submit -- python train.py"
        return "No job waits or runs. lowtide status --all shows those that have ended."

    show(output, jobs, human=human, rows=lambda: flat(jobs))


for word in ("status", "ps", "queue"):
    app.command(word, cls=quick.Command, hidden=word != "status", rich_help_panel="Jobs")(status)


@app.command(cls=quick.Command, rich_help_panel="Jobs")
def explain(
    ctx: typer.Context,
    job: JobArgument,
    *,
    events: Annotated[bool, typer.Option("--events", help="Everything that happened to it.")] = False,
    output: Output = "table",
) -> None:
    """Say why a job waits or runs, until when, and what would make it start now."""
    from lowtide.scheduler.cli import plan_view  # noqa: PLC0415 - as above

    server = target(ctx).connect()
    job_id = resolve(server, job)
    if events:
        log = server.items(f"/v1/jobs/{job_id}/events")
        show(output, log, human=lambda: plan_view.events_text(log))
        return
    plan = plan_view.whole(server.get(f"/v1/jobs/{job_id}/explain"))
    show(output, plan, human=lambda: plan_view.explain_text(plan), rows=lambda: plan["candidates"])


@app.command(cls=quick.Command, rich_help_panel="Jobs")
def logs(
    ctx: typer.Context,
    job: JobArgument,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended; Ctrl-C ends only this.")
    ] = False,
    tail: Annotated[str | None, typer.Option("--tail", metavar="N", help="The last N lines only.")] = None,
) -> None:
    """Show what a job prints, attempt after attempt.

    Of each attempt the last 4000 lines are kept; a first line says so where more came before.
    """
    if tail is not None and not tail.isdigit():
        message = f"--tail {tail!r} is no whole number."
        raise BadInput(message, fix="Give for example --tail 20.")
    server = target(ctx).connect()
    job_id = resolve(server, job)
    query = "&".join([*(["follow=1"] if follow else []), *([f"tail={tail}"] if tail else [])])
    printed = False
    for piece in server.stream(f"/v1/jobs/{job_id}/logs?{query}"):
        printed = True
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    if not printed and tail != "0":
        found = server.get(f"/v1/jobs/{job_id}")
        warn(f"{job_id} has printed nothing; it is {found['state']}: {found['reason']['sentence']}.")


@app.command(cls=quick.Command, rich_help_panel="Orders")
def cancel(
    ctx: typer.Context,
    jobs: JobsArgument = None,
    *,
    name: Name = None,
    every: Annotated[bool, typer.Option("--all", help="Every job that has not ended.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End jobs for good."""
    if not (jobs or name or every):
        raise BadInput("there is no job to cancel.", fix="Give ids, --name NAME or --all.")
    server = target(ctx).connect()
    chosen = list(jobs or [])
    if name or every:
        chosen += [job["id"] for job in _listed(server, [], every=False, name=name, queue=None)]
    if every and not yes and sys.stdin.isatty():
        typer.confirm(f"Cancel {len(chosen)} jobs?", abort=True)
    if not chosen:
        say("No job fits; nothing was cancelled.")
    _order(server, chosen, "cancel", _cancelled)


def _cancelled(job: Json) -> str:
    if job["state"] == "cancelled":
        return f"{job['id']} is cancelled."
    return f"{job['id']} is asked to stop."


def _order(server: Server, given: Sequence[str], word: str, told: Callable[[Json], str]) -> None:
    """Give the same order to several jobs; one refusal does not keep it from the others."""
    code = 0
    for one in given:
        try:
            say(told(server.post(f"/v1/jobs/{resolve(server, one)}/{word}")))
        except LowtideError as error:
            if len(given) == 1:
                raise
            warn(f"{one}: {error}")
            code = max(code, error.exit_code)
    if code:
        raise typer.Exit(code)


def _order_command(words: Sequence[str], order: str, help_text: str, told: Callable[[Json], str]) -> None:
    def give(
        ctx: typer.Context,
        jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Ids, or unique names.")],
    ) -> None:
        _order(target(ctx).connect(), jobs, order, told)

    for word in words:
        panel = "Orders"
        app.command(word, cls=quick.Command, help=help_text, hidden=word != words[0], rich_help_panel=panel)(give)


_order_command(
    ("hold",),
    "hold",
    "Keep waiting jobs from starting until they are released.",
    lambda job: f"{job['id']} is held. Release it with: lowtide release {job['id']}",
)
_order_command(
    ("release",), "release", "Let held jobs go on.", lambda job: f"{job['id']} is released and {job['state']}."
)
_order_command(
    ("suspend", "pause"),
    "suspend",
    "Checkpoint and stop running jobs until they are resumed.",
    lambda job: f"{job['id']} is {job['state']}. Resume it with: lowtide resume {job['id']}",
)
_order_command(
    ("resume", "activate"),
    "resume",
    "Let suspended jobs go on when their window comes.",
    lambda job: f"{job['id']} may go on; it is {job['state']}.",
)


@app.command("run-now", cls=quick.Command, rich_help_panel="Orders")
def run_now(
    ctx: typer.Context,
    job: JobArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays on record.")],
) -> None:
    """Start a waiting job whatever the carbon."""
    server = target(ctx).connect()
    told = server.post(f"/v1/jobs/{resolve(server, job)}/run-now", {"reason": reason})
    say(f"{told['id']} starts as soon as capacity allows; it is {told['state']}.")
