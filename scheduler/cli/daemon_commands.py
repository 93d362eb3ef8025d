"""Commands about the daemon itself: up, down, server, doctor, demo, version, completion."""

from typing import Annotated, Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.output import say, show
from lowtide.scheduler.cli.root import Output, app, target
from lowtide.scheduler.cli.table import Cell, Column, table
from lowtide.scheduler.cli.words import NONE, span
from lowtide.scheduler.model.errors import BadInput, Unreachable

Port = Annotated[int | None, typer.Option(metavar="N", help="Port on 127.0.0.1; 0 picks a free one.")]
Config = Annotated[str | None, typer.Option(metavar="FILE", help="Settings file (YAML).")]
DataDir = Annotated[str | None, typer.Option(metavar="DIR", help="Data directory.")]
Gpus = Annotated[int | None, typer.Option(metavar="N", help="GPUs of the private local cluster.")]
Zone = Annotated[str | None, typer.Option(metavar="ZONE", help="Grid zone of the private local cluster, such as GB.")]

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command(cls=quick.Command, rich_help_panel="Daemon")
def up(
    ctx: typer.Context,
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start in the background, wait until ready.")] = False,
    port: Port = None,
    config: Config = None,
    data_dir: DataDir = None,
    gpus: Gpus = None,
    zone: Zone = None,
) -> None:
    """Start the daemon; without configured sites it starts a private Ray cluster on this machine."""
    from lowtide.scheduler.cli import process  # noqa: PLC0415 - status must not wait for it

    folder = target(ctx).folder(data_dir)
    options = {"port": port, "config": config, "gpus": gpus, "zone": zone}
    if not detach:
        process.run_in_foreground(folder, options)
        return
    health = process.running(folder)
    unheeded = [f"--{name} {value}" for name, value in options.items() if value is not None] if health else []
    already = health is not None
    health = health or process.run_detached(folder, options)
    troubles, prefix = process.grid_troubles(folder, health), process.prefix_of(folder)
    say(process.up_text(health, already=already, troubles=troubles, unheeded=unheeded, prefix=prefix))


@app.command(cls=quick.Command, hidden=True)
def server(
    ctx: typer.Context,
    port: Port = None,
    config: Config = None,
    data_dir: DataDir = None,
    gpus: Gpus = None,
    zone: Zone = None,
) -> None:
    """Run the daemon in the foreground, as a service manager wants it."""
    from lowtide.scheduler.cli import process  # noqa: PLC0415 - as above

    options = {"port": port, "config": config, "gpus": gpus, "zone": zone}
    process.run_in_foreground(target(ctx).folder(data_dir), options)


@app.command(cls=quick.Command, rich_help_panel="Daemon")
def down(
    ctx: typer.Context,
    *,
    keep_cluster: Annotated[
        bool, typer.Option("--keep-cluster", help="Leave the local Ray cluster and its jobs running.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """End the daemon. Accepted jobs are kept and go on at the next start."""
    from lowtide.scheduler.cli import process  # noqa: PLC0415 - as above

    chosen = target(ctx)
    process.end(chosen.server, data_dir or chosen.directory, chosen.folder(data_dir), keep_cluster=keep_cluster)


@app.command(cls=quick.Command, rich_help_panel="Daemon")
def doctor(
    ctx: typer.Context,
    part: Annotated[str, typer.Argument(metavar="grid", help="The grid sources alone.")] = "",
    output: Output = "table",
) -> None:
    """Check the installation; every finding says what to do.

    With 'grid' every configured grid source is asked one question now. Ends with 1 where something fails.
    """
    chosen = target(ctx)
    if part:
        _check_part(part)
        found = chosen.connect().items("/v1/doctor/grid")
        show(output, found, human=lambda: _grid_text(found))
        raise typer.Exit(1 if any(row["status"] == "fail" for row in found) else 0)
    try:
        findings = chosen.connect().items("/v1/doctor")
        code = 1 if any(finding["status"] == "fail" for finding in findings) else 0
    except Unreachable:
        from lowtide.scheduler.cli.process import local_findings  # noqa: PLC0415 - as above

        findings, code = local_findings(chosen.folder()), Unreachable.exit_code
    show(output, findings, human=lambda: _findings_text(findings))
    raise typer.Exit(code)


def _check_part(part: str) -> None:
    if part != "grid":
        raise BadInput(f"doctor has no part {part!r}.", fix="Ask for: lowtide doctor grid, or lowtide doctor.")


def _findings_text(findings: list[dict[str, str]]) -> str:
    rows = []
    for finding in findings:
        state = Cell(finding["status"], STYLES.get(finding["status"], ""))
        rows.append([state, Cell(finding["check"]), Cell(finding["detail"])])
        if finding["fix"]:
            rows.append([Cell(""), Cell(""), Cell(f"what to do: {finding['fix']}")])
    return table([Column("STATE"), Column("CHECK"), Column("FOUND", is_flexible=True, wraps=True)], rows)


def _grid_text(found: list[dict[str, Any]]) -> str:
    """A row for each source and zone that was examined, then what is wrong and what to do."""
    columns = [Column("STATE"), Column("SOURCE"), Column("ZONE"), Column("OUTCOME"), Column("AGE", drop=1)]
    columns += [Column("SIGNAL", drop=2), Column("BASIS", drop=3), Column("RUNG"), Column("LICENCE", is_flexible=True)]
    troubles = [f"{row['detail']} What to do: {row['fix']}" for row in found if row["detail"]]
    return "\n".join([table(columns, [_check_row(row) for row in found]), *dict.fromkeys(troubles)])


def _check_row(row: dict[str, Any]) -> list[Cell]:
    told = (row["source"], row["zone"], row["outcome"].replace("_", " "), span(row["age_s"]))
    means = (row["signal"], row["basis"], (row["rung"] or "").replace("_", " "), row["licence"])
    return [Cell(row["status"], STYLES[row["status"]]), *(Cell(text or NONE) for text in (*told, *means))]


@app.command(cls=quick.Command, rich_help_panel="Daemon")
def demo(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document at the end and nothing else.")
    ] = False,
) -> None:
    """Show everything on this machine in three minutes: recorded grid days, a local Ray, real training jobs."""
    from lowtide.scheduler.control.demo import run  # noqa: PLC0415 - the daemon's code, for this command alone

    raise typer.Exit(run(as_json=as_json))


@app.command(cls=quick.Command, rich_help_panel="Daemon")
def version(ctx: typer.Context, output: Output = "table") -> None:
    """Show the versions of this command and of the daemon that answers."""
    from importlib.metadata import version as installed  # noqa: PLC0415 - as above

    versions: dict[str, str | None] = {"lowtide": installed("lowtide"), "daemon": None}
    try:
        versions["daemon"] = target(ctx).connect().get("/v1/health").get("version")
    except Unreachable:
        versions["daemon"] = None
    human = f"lowtide {versions['lowtide']}\ndaemon  {versions['daemon'] or 'does not answer'}"
    show(output, versions, human=lambda: human, rows=lambda: [versions])


@app.command(cls=quick.Command, rich_help_panel="Daemon")
def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish")] = "bash",
) -> None:
    """Print the completion script of a shell, for example: eval "$(lowtide completion bash)"."""
    from typer._completion_shared import get_completion_script  # noqa: PLC0415 - Typer has no public name for it

    if shell not in {"bash", "zsh", "fish"}:
        message = f"{shell!r} is no shell that can be completed."
        raise BadInput(message, fix="Give bash, zsh or fish.")
    say(get_completion_script(prog_name="lowtide", complete_var="_LOWTIDE_COMPLETE", shell=shell))
