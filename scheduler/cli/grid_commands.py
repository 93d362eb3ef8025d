"""Commands about the grid and the accounts: forecast and report."""

from typing import Annotated

import typer

from lowtide.scheduler.cli import quick
from lowtide.scheduler.cli.client import resolve
from lowtide.scheduler.cli.output import check_format, show
from lowtide.scheduler.cli.root import JobsArgument, Output, app, target
from lowtide.scheduler.model.errors import BadInput


@app.command(cls=quick.Command, rich_help_panel="Grid and accounts")
def forecast(
    ctx: typer.Context,
    zone: Annotated[str | None, typer.Argument(metavar="ZONE", help="Default: the zone of the first site.")] = None,
    zone_option: Annotated[str | None, typer.Option("--zone", metavar="ZONE", help="The same.", hidden=True)] = None,
    hours: Annotated[str, typer.Option("--hours", metavar="N", help="How far to look, up to 168.")] = "48",
    duration: Annotated[
        str, typer.Option("--duration", metavar="TIME", help="Length of the windows to look for, such as 3h.")
    ] = "3h",
    output: Output = "table",
) -> None:
    """Draw the grid's carbon intensity with the low-carbon windows marked."""
    from lowtide.scheduler.model.quantity import duration_s  # noqa: PLC0415 - status does not need it

    check_format(output)
    try:
        window_s = duration_s(duration)
    except ValueError as error:
        raise BadInput(f"--duration: {error}.", fix="Give for example --duration 3h.") from None
    server = target(ctx).connect()
    found = server.get("/v1/forecast", zone=zone or zone_option, hours=hours, duration_s=window_s)

    def human() -> str:
        from lowtide.scheduler.cli.forecast_view import forecast_text  # noqa: PLC0415 - plotext is slow to import

        return forecast_text(found)

    show(output, found, human=human, rows=lambda: [*found["actual"], *found["forecast"]])


@app.command(cls=quick.Command, rich_help_panel="Grid and accounts")
def report(ctx: typer.Context, jobs: JobsArgument = None, output: Output = "table") -> None:
    """Show what jobs used, emitted and avoided: the receipt of one, or a table of many."""
    from lowtide.scheduler.cli import receipt_view  # noqa: PLC0415 - as above

    check_format(output)
    server = target(ctx).connect()
    ids = [resolve(server, one) for one in jobs or []]
    if len(ids) == 1:
        receipt = server.get(f"/v1/jobs/{ids[0]}/receipt")
        show(
            output,
            receipt,
            human=lambda: receipt_view.receipt_text(receipt),
            rows=lambda: receipt_view.flat({"jobs": [receipt]}),
        )
        return
    found = server.get("/v1/report", job=ids or None)
    show(output, found, human=lambda: receipt_view.report_text(found), rows=lambda: receipt_view.flat(found))
