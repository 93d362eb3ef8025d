"""The options of ``lowtide simulate``, in the order in which ``--help`` shows them."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from lowtide.scheduler.cli.root import Output
from lowtide.scheduler.model.data import USUAL_GBIT_PER_S, USUAL_KWH_PER_GB

Command = Callable[..., None]
OR_SETTINGS = "or what --settings says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asked for; None and empty lists where nothing was said."""

    # what is played
    jobs: Annotated[Path, typer.Option("--jobs", metavar="CSV", help="Jobs: submit_s,duration_s,gpus and more.")]
    intensity: Annotated[
        list[Path], typer.Option("--intensity", metavar="CSV", help="start_utc,g_per_kwh[,zone]; repeat it to compare.")
    ]
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="A policy; with --settings also a policy set, or 'settings'. Repeat it to compare.",
        ),
    ] = None
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="[POLICY.]NAME=VALUE[,VALUE]", help="A parameter, and what to try for it."),
    ] = None
    start: Annotated[str | None, typer.Option("--start", metavar="ISO", help="Default: the first intensity.")] = None
    hours: Annotated[float | None, typer.Option("--hours", metavar="N", help="Default: all of the intensity.")] = None
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Play a sample of the jobs, drawn with replacement.")
    ] = None

    # where
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", metavar="YAML", help="Play at the sites, queues and projects of a daemon's settings."
        ),
    ] = None
    reservations: Annotated[
        Path | None,
        typer.Option(
            "--reservations", metavar="CSV", help="With --settings: site,start_at[,end_at,pool,gpus,project,queue]."
        ),
    ] = None
    gpus: Annotated[
        list[str] | None, typer.Option("--gpus", metavar="N[,N]", help="Of each zone; none, the default, is no limit.")
    ] = None
    each_zone: Annotated[
        bool, typer.Option("--each-zone", help="Play each zone of a file on its own, instead of all as sites of one.")
    ] = False
    slot: Annotated[
        str | None,
        typer.Option("--slot", metavar="TIME", help=f"Length of a planning slot. Default: 15m, {OR_SETTINGS}."),
    ] = None
    transfer_kwh_per_gb: Annotated[
        float | None,
        typer.Option(
            "--transfer-kwh-per-gb",
            metavar="KWH",
            help=f"Electricity of moving data. Default: {USUAL_KWH_PER_GB}, {OR_SETTINGS}.",
        ),
    ] = None
    transfer_gbit_per_s: Annotated[
        float | None,
        typer.Option(
            "--transfer-gbit-per-s",
            metavar="GBIT",
            help=f"How fast that is. Default: {USUAL_GBIT_PER_S:g}, {OR_SETTINGS}.",
        ),
    ] = None
    tariff: Annotated[
        Path | None,
        typer.Option(
            "--tariff",
            metavar="FILE",
            help="Price of electricity. YAML: currency, timezone, rates; CSV: start_utc,price_per_kwh[,zone,currency].",
        ),
    ] = None
    money_g_per_unit: Annotated[
        float | None,
        typer.Option(
            "--money-g-per-unit",
            metavar="G",
            help=f"What a unit of its currency is worth, in gCO2e. Default: 0, {OR_SETTINGS}.",
        ),
    ] = None

    # the jobs
    patience: Annotated[
        str | None,
        typer.Option(
            "--patience",
            metavar="LIST",
            help=f"By run time, split at a length. Default: short=6h,long=24h,split=2h, {OR_SETTINGS}.",
        ),
    ] = None
    power_w: Annotated[
        float | None, typer.Option("--power-w", metavar="W", help=f"Of a GPU at work. Default: 300, {OR_SETTINGS}.")
    ] = None
    switch_cost: Annotated[
        str | None,
        typer.Option(
            "--switch-cost", metavar="TIME", help=f"Run time lost to a suspension. Default: 0s, {OR_SETTINGS}."
        ),
    ] = None
    interruptible: Annotated[
        bool, typer.Option("--interruptible/--not-interruptible", help="Unless the trace says.")
    ] = True

    # what the scheduler is told
    forecast: Annotated[
        Path | None,
        typer.Option("--forecast", metavar="CSV", help="issued_utc,start_utc,g_per_kwh; without, perfect foresight."),
    ] = None
    as_issued: Annotated[
        bool, typer.Option("--as-issued", help="Believe --forecast as it is: no correction, no guard.")
    ] = False
    clairvoyant: Annotated[bool, typer.Option("--clairvoyant", help="Show the scheduler all jobs in advance.")] = False
    estimate: Annotated[
        str, typer.Option("--estimate", metavar="KIND", help="Run times told: exact, or class-mean by patience.")
    ] = "exact"

    # who plays, and what comes of it
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes that play at a time.")] = 1
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="URL", help="Play on a Ray cluster, by the URL of its dashboard.")
    ] = None
    ray_python: Annotated[
        str, typer.Option("--ray-python", metavar="PATH", help="Python of the cluster's nodes; it needs lowtide.")
    ] = "python3"
    bound: Annotated[bool, typer.Option("--bound", help="Also the least that any schedule could emit.")] = False
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also a page: intensity, GPUs at work, waiting times.")
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False
    output: Output = "table"


def asks(command: Callable[[Asked], None]) -> Command:
    """Give a command the options of Asked as its parameters, and call it with what was asked."""

    def called(**flags: Any) -> None:
        command(Asked(**flags))

    parameters = [_parameter(field) for field in fields(Asked)]
    called.__name__, called.__module__, called.__doc__ = command.__name__, command.__module__, command.__doc__
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # the documented way to set it
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _parameter(field: Field[Any]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
