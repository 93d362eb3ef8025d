"""The command line's root: global options, exit codes, and what every command shares."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.client import Server, connect, data_dir

EPILOG = (
    "Exit codes: 0 ok; 1 a job failed, or something broke; 2 the command or the job file is wrong; 3 refused by"
    " policy or state; 4 the daemon does not answer; 5 not done in time; 130 ended with Ctrl-C."
)
OUTPUT_HELP = "table, wide, json, yaml or csv."
Output = Annotated[str, typer.Option("--output", "-o", metavar="FORMAT", help=OUTPUT_HELP)]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id, a unique beginning of it, or a unique name.")]
JobsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="JOB", help="Ids, unique beginnings of them, or unique names.")
]
PANELS = ("Jobs", "Orders", "Grid and accounts", "Daemon")
ORDER = ("submit", "plan", "status", "explain", "logs", "cancel", "hold", "release", "suspend", "resume", "run-now")
"""The help begins with what researchers type; the rest follows as it is registered."""


class Root(quick.Group):
    """The top group, with its commands in the order of use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands by what they are about, each with its whole sentence."""
        known = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        for panel in PANELS:
            rows = [
                (name, (command.help or "").split("\n\n")[0])
                for name, command in known
                if command is not None and not command.hidden and getattr(command, "rich_help_panel", "") == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(
    name="lowtide",
    cls=Root,
    help="Runs GPU jobs when the grid is clean.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(frozen=True, slots=True)
class Target:
    """Which daemon a command talks to."""

    server: str | None
    directory: str | None

    def connect(self) -> Server:
        """The daemon; raises Unreachable when none is known."""
        return connect(self.server, self.directory)

    def folder(self, explicit: str | None = None) -> Path:
        """The data directory, absolute."""
        return data_dir(explicit or self.directory).resolve()


def target(ctx: typer.Context) -> Target:
    """The target that the global options chose."""
    found = ctx.find_object(Target)
    return found or Target(None, None)


def _version(wanted: bool) -> None:  # noqa: FBT001 - the callback of a switch
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - 12 ms that only --version should cost

        typer.echo(f"lowtide {version('lowtide')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    *,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="The daemon's address; also LOWTIDE_SERVER, with LOWTIDE_TOKEN.")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="The daemon's data directory; also LOWTIDE_DATA_DIR.")
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour; also NO_COLOR.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Run GPU jobs when the grid is clean."""
    del version
    if no_color:
        os.environ["NO_COLOR"] = "1"
    ctx.obj = Target(server, data_dir)
