"""Typer commands that start fast: plain text options are taken as they are.

Typer checks every option through pydantic, whose import alone takes longer than asking the daemon. Values
that are already of the declared type need no check, so they skip it; anything else takes Typer's own path.
The hook is an attribute that Typer fills lazily; where a version does not have it, nothing is changed.
"""

import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lowtide.scheduler.model.errors import LowtideError

_HOOK = "_runtime_param"


class _AsItIs:
    """Stands in for Typer's checker until a value really needs one."""

    def __init__(self, param: Any) -> None:
        self._annotation = param.type_descriptor.annotation
        self._is_list = self._annotation == list[str]

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        many = param.multiple or param.nargs == -1
        if value is None:
            return [] if many else None
        if many and self._is_list:
            return list(value)
        if isinstance(self._annotation, type) and type(value) is self._annotation:
            return value
        setattr(param, _HOOK, None)
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _skip_needless_checks(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, _HOOK, param) is None and hasattr(param, "type_descriptor"):
            setattr(param, _HOOK, _AsItIs(param))
    return params


class Command(TyperCommand):
    """A command whose text options cost nothing."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, the built-in ones such as --help included."""
        return _skip_needless_checks(super().get_params(ctx))


class CommandWithTail(Command):
    """A command that may end with ``-- PROGRAM ARGUMENT...``; the tail is left in ``ctx.meta``."""

    TAIL = "lowtide.tail"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Cut the tail off before the options are read."""
        if "--" in args:
            cut = args.index("--")
            ctx.meta[self.TAIL] = args[cut + 1 :]
            args = args[:cut]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Show the tail in the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- PROGRAM [ARGUMENT]...]"]


class Group(TyperGroup):
    """The top group: an error of our tree becomes two lines and its exit code."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, the built-in ones such as --help included."""
        return _skip_needless_checks(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except LowtideError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from None


def print_error(error: LowtideError) -> None:
    """What was wrong, each field if there are several, and what to do; on standard error."""
    lines = [f"error: {error.message}"]
    listed = error.details.get("errors")
    if isinstance(listed, list) and len(listed) > 1:
        lines = [f"error: {error.message.split(':', 1)[0]}:"]
        lines += [f"  {one['field']}: {one['message']}" for one in listed]
    if error.fix:
        lines.append(f"what to do: {error.fix}")
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - this is the command line's own voice
