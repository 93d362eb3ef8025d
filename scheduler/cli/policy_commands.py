"""Commands for administrators about policy sets: check, compare, apply and take back."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.output import check_format, say, show, warn
from lowtide.scheduler.cli.root import Output, app, target
from lowtide.scheduler.cli.table import Cell, Column, table
from lowtide.scheduler.cli.words import NONE
from lowtide.scheduler.model.errors import BadInput, Unreachable

Json = dict[str, Any]
File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A policy set: a YAML file, '-', or balanced, cheapest, greenest or punctual."),
]
Why = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="Kept in the history.")]
HELP = {"help_option_names": ["-h", "--help"]}
admin = typer.Typer(
    cls=quick.Group,
    help="For administrators: how the queues decide, what projects may spend, and what is kept free.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=HELP,
)
policy = typer.Typer(
    cls=quick.Group,
    help="The policy set: how each queue decides, checked, compared, applied without a restart and taken back.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=HELP,
)
admin.add_typer(policy, name="policy")
app.add_typer(admin, name="admin", rich_help_panel="Daemon")


@policy.command(cls=quick.Command)
def get(
    ctx: typer.Context,
    ready_made: Annotated[
        str | None,
        typer.Option("--set", metavar="NAME", help="A set that comes with lowtide, as a file to begin with."),
    ] = None,
    output: Output = "yaml",
) -> None:
    """Show how each queue decides now, as a policy set."""
    check_format(output)
    if ready_made is not None:
        say(_ready_made(ready_made).rstrip())
        return
    found = target(ctx).connect().get("/v1/policy")
    if output == "yaml":
        say(str(found["text"]).rstrip())
        return
    show(output, found, human=lambda: str(found["text"]).rstrip(), rows=lambda: found["queues"])


@policy.command(cls=quick.Command)
def validate(ctx: typer.Context, file: File, output: Output = "table") -> None:
    """Check a policy set; changes nothing. Without a daemon the policies installed here count."""
    check_format(output)
    text = _text(file)
    try:
        found = target(ctx).connect().post("/v1/policy/diff", {"text": text})["items"]
    except Unreachable:
        from lowtide.scheduler.policy_set import parsed  # noqa: PLC0415 - pydantic and every policy

        parsed(text)
        warn("No daemon answered: its queues could not be looked at.")
        found = []
    show(output, found, human=lambda: f"{file} is a sound policy set.")


@policy.command(cls=quick.Command)
def diff(ctx: typer.Context, file: File, output: Output = "table") -> None:
    """Show what a policy set would change, by queue and field."""
    check_format(output)
    found = target(ctx).connect().post("/v1/policy/diff", {"text": _text(file)})["items"]
    show(output, found, human=lambda: _changes_text(found))


@policy.command(cls=quick.Command)
def apply(ctx: typer.Context, file: File, why: Why = None, output: Output = "table") -> None:
    """Put a policy set in force from the next plan on; one with a fault changes nothing."""
    check_format(output)
    _show_applied(output, target(ctx).connect().post("/v1/policy", {"text": _text(file), "why": why}))


@policy.command(cls=quick.Command)
def history(ctx: typer.Context, output: Output = "table") -> None:
    """List the last 200 revisions: who applied each, when and why. The other formats have its text as well."""
    check_format(output)
    found = target(ctx).connect().items("/v1/policy/history")
    show(output, found, human=lambda: _history_text(found))


@policy.command(cls=quick.Command)
def rollback(
    ctx: typer.Context,
    revision: Annotated[
        str | None,
        typer.Argument(metavar="N", help="The revision; default: the one before the present. 0: the settings alone."),
    ] = None,
    why: Why = None,
    output: Output = "table",
) -> None:
    """Put an earlier revision in force again, as a new one; twice without N undoes it."""
    check_format(output)
    if revision is not None and not revision.isdecimal():
        message = f"{revision[:40]!r} is no revision; expected a whole number."
        raise BadInput(message, fix="lowtide admin policy history lists them.")
    order = {"revision": None if revision is None else int(revision), "why": why}
    _show_applied(output, target(ctx).connect().post("/v1/policy/rollback", order))


@policy.command(cls=quick.Command)
def shadow(
    ctx: typer.Context,
    *,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="The set to put in the shadow; without one nothing changes.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Let nothing decide in the shadow.")] = False,
    why: Why = None,
    output: Output = "table",
) -> None:
    """Let a policy set decide beside the active one, carry nothing out, and show what it would have saved."""
    from lowtide.scheduler.cli.shadow_view import shadow_text  # noqa: PLC0415 - status does not need it

    check_format(output)
    if stop and file is not None:
        raise BadInput("--stop ends the shadow, and a file begins one.", fix="Give one of them.")
    server = target(ctx).connect()
    if stop:
        found = server.post("/v1/policy/shadow/stop", {"why": why})
    elif file is not None:
        found = server.post("/v1/policy/shadow", {"text": _text(file), "why": why})
    else:
        found = server.get("/v1/policy/shadow")
    show(output, found, human=lambda: shadow_text(found), rows=lambda: found["comparisons"])


@policy.command(cls=quick.Command)
def simulate(
    ctx: typer.Context,
    file: File,
    days: Annotated[str, typer.Option("--days", metavar="N", help="How far back, up to 31.")] = "7",
    output: Output = "table",
) -> None:
    """Play the last days of this installation's own jobs under another set, beside what happened.

    The daemon tells jobs and measured intensity; they are played here, with the policies installed here.
    """
    check_format(output)
    text = _text(file)
    found = target(ctx).connect().get("/v1/policy/past", days=days)
    from lowtide.scheduler.cli.replay_view import replay, replay_text  # noqa: PLC0415 - numpy and every policy

    told = replay(found, text, file)
    show(output, told, human=lambda: replay_text(told), rows=lambda: told["columns"])


def _show_applied(output: str, found: Json) -> None:
    def human() -> str:
        return f"In force from the next plan on: {found['sentence']}.\n{_changes_text(found['changes'])}"

    show(output, found, human=human, rows=lambda: found["changes"])


def _text(file: str) -> str:
    """The text of a file, of standard input, or of a set that comes with lowtide."""
    if file == "-":
        return sys.stdin.read()
    path = Path(file)
    try:
        return path.read_text()
    except FileNotFoundError:
        return _ready_made(file)
    except (OSError, UnicodeDecodeError) as error:
        message = f"the policy set {file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}."
        raise BadInput(message, fix="Give a YAML file.") from None


def _ready_made(name: str) -> str:
    from lowtide.scheduler.policy_set import ready_made  # noqa: PLC0415 - as above

    sets = ready_made()
    if name not in sets:
        message = f"there is no file {name!r}, and no policy set of that name comes with lowtide."
        raise BadInput(message, fix=f"Give a file, or one of: {', '.join(sets)}.")
    return sets[name]


def _changes_text(found: Sequence[Json]) -> str:
    if not found:
        return "Nothing changes."
    columns = [Column(name) for name in ("QUEUE", "FIELD", "NOW")]
    rows = [[Cell(_plain(one[key])) for key in ("queue", "field", "before", "after")] for one in found]
    return table([*columns, Column("THEN")], rows)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {one:g}" for name, one in value.items()) or NONE
    return f"{value:g}" if isinstance(value, float) else str(value)


def _history_text(found: Sequence[Json]) -> str:
    if not found:
        return "No policy set has been applied; the settings decide."
    columns = [Column("N", is_number=True), *(Column(name) for name in ("AT", "BY", "WHAT"))]
    rows = [[Cell(str(one["revision"])), Cell(one["at"]), Cell(one["actor"]), Cell(_what(one))] for one in found]
    whys = [Cell(one["why"] or NONE) for one in found]
    return table(
        [*columns, Column("WHY", is_flexible=True)], [[*row, why] for row, why in zip(rows, whys, strict=True)]
    )


def _what(one: Json) -> str:
    if one["mode"] == "shadow":
        return "in the shadow" if one["text"] else "shadow ended"
    if one["copy_of"] is not None:
        return f"rolled back to {one['copy_of']}"
    return "applied"
