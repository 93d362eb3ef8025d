"""Typer commands that start fast: plain text options are taken as they are.

Typer checks every option through pydantic, whose import alone takes longer than asking the daemon. Values
that are already of the declared type need no check, so they skip it; anything else takes Typer's own path.
The hook is an attribute that Typer fills lazily; where a version does not have it, nothing is changed.
"""

import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lowtide.scheduler.model.errors import BadInput, LowtideError

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
        if getattr(param, "param_type_name", "") == "argument":
            param.display_type_rich = _no_type  # a reader has no use for <list[str]>
    return params


def _no_type(ctx: Any) -> str:
    del ctx
    return ""


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
        except _UsageError as error:
            refusal = _as_refusal(error)
            print_error(refusal)
            raise typer.Exit(refusal.exit_code) from None


_UsageError: Any = typer.BadParameter.__base__
"""What the parser raises; Typer has no public name for it."""
ELSEWHERE = {
    "--submission-id": "lowtide gives the ids. That a job is taken once only is what --idempotency-key is for",
    "--no-wait": "submit does not wait; leave it out (--wait waits)",
    "--entrypoint-num-gpus": "Write --gpus N",
    "--entrypoint-num-cpus": "Write --cpus N",
    "--entrypoint-memory": "Write --mem SIZE, for example 16GiB",
    "--metadata-json": "Write --label KEY=VALUE",
    "--runtime-env-json": "Write the JSON to a file and give --runtime-env FILE",
    "--address": "lowtide --server URL submit names the daemon; clusters are sites in its settings",
    "--array": "Submit one job for each element, for example in a shell loop",
    "--hold": "Submit the job, then: lowtide hold JOB",
    "-H": "Submit the job, then: lowtide hold JOB",
    "--nodes": "One attempt runs on one node; a script that calls ray.init() can use more",
    "-N": "One attempt runs on one node; a script that calls ray.init() can use more",
    "--requeue": "Write --retries 2",
    "--wrap": "Write the command after --: lowtide submit -- sh -c '...'",
    "--use-spot": "There are no prices here; --patience says how long a job may wait",
}
"""Options of sbatch, ray job submit and sky launch that have no counterpart, and what to write instead."""


def _as_refusal(error: Any) -> BadInput:
    """A usage error in our own form: what was wrong, and what to do."""
    ctx = error.ctx
    path = ctx.command_path if ctx is not None else "lowtide"
    fix = ELSEWHERE.get(getattr(error, "option_name", ""), f"{path} --help shows how it is written")
    if ctx is not None and isinstance(ctx.command, CommandWithTail) and CommandWithTail.TAIL not in ctx.meta:
        fix += f". A program and its own options stand after '--': {path} -- python train.py --lr 0.1"
    return BadInput(f"{str(error.format_message()).strip().rstrip('.')}.", fix=fix)


def _place(one: dict[str, str]) -> str:
    """The field that is wrong, after its line where the daemon told one."""
    line = f"line {one['line']}" if "line" in one else ""
    return ": ".join(part for part in (line, one["field"]) if part)


def print_error(error: LowtideError) -> None:
    """What was wrong, each field if there are several, and what to do; on standard error."""
    from lowtide.scheduler.cli.table import error_flow  # noqa: PLC0415 - only a failure pays for it

    lines = [f"error: {error.message}"]
    listed = error.details.get("errors")
    if isinstance(listed, list) and len(listed) > 1:
        lines = [f"error: {error.message.split(':', 1)[0]}:"]
        lines += [f"  {_place(one)}: {one['message']}" for one in listed]
    if error.fix:
        lines.append(f"what to do: {error.fix}")
    print("\n".join(error_flow(line) for line in lines), file=sys.stderr)  # noqa: T201 - this is the command line's own voice
