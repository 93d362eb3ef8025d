"""The command for administrators about the projects' budgets: what is used, what is left, how each stands."""

from collections.abc import Sequence
from typing import Any

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.output import check_format, show
from lowtide.scheduler.cli.policy_commands import admin
from lowtide.scheduler.cli.root import Output, target
from lowtide.scheduler.cli.table import Cell, Column, table

Json = dict[str, Any]
NUMBERS = ("LIMIT", "USED", "PROMISED", "LEFT")
STYLES = {"near": "yellow", "spent": "red"}


@admin.command(cls=quick.Command)
def budget(ctx: typer.Context, output: Output = "table") -> None:
    """Show the projects' budgets: used, promised to work under way, left, and how each stands."""
    check_format(output)
    found = target(ctx).connect().items("/v1/budgets")
    show(output, found, human=lambda: _text(found))


def _text(found: Sequence[Json]) -> str:
    if not found:
        return "No project has a budget; the settings give them under 'projects:'."
    columns = [Column("PROJECT"), Column("PERIOD"), Column("UNTIL", drop=1)]
    columns += [Column(name, is_number=True) for name in NUMBERS]
    return table([*columns, Column("UNIT"), Column("STATE")], [_row(one) for one in found])


def _row(one: Json) -> list[Cell]:
    amounts = [Cell(_amount(one[name.lower()])) for name in NUMBERS]
    words = [Cell(one["project"]), Cell(one["period"]), Cell(str(one["end"])[:10])]
    return [*words, *amounts, Cell(one["unit"]), Cell(one["standing"], STYLES.get(one["standing"], ""))]


def _amount(amount: float) -> str:
    return f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:,.1f}"  # noqa: PLR2004 - as many digits as are read
