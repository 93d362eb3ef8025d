"""What the demo shows a person: a live table and the intensity curve, and the receipt at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import plotext
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]
STYLE = {"running": "green", "starting": "green", "succeeded": "bold green", "failed": "bold red"}
CHART_WIDTH, CHART_HEIGHT = 100, 12
STYLE |= {"suspended": "yellow", "suspending": "yellow", "queued": "cyan"}


class View:
    """Silent; the base of the one that shows something."""

    @staticmethod
    def choose(*, quiet: bool) -> "View":
        """A silent view for --json, else the terminal."""
        return View() if quiet else TerminalView()

    def say(self, sentence: str) -> None:
        """A step."""

    @contextmanager
    def live(self) -> Iterator[None]:
        """While the fleet is shown."""
        yield

    def show(self, now: datetime, jobs: list[Json], outlook: Json) -> None:
        """The fleet now."""

    def finish(self, document: Json, report: Json) -> None:
        """The receipt."""


class TerminalView(View):
    """Rich on standard output."""

    def __init__(self, console: Console | None = None) -> None:
        """Use the terminal as it is, or what is given."""
        self._console = console or Console()
        self._live: Live | None = None

    def say(self, sentence: str) -> None:
        """One dim line per step."""
        self._console.print(sentence, style="dim")

    @contextmanager
    def live(self) -> Iterator[None]:
        """Redraw in place on a terminal; elsewhere say nothing until the end."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4) as self._live:
            yield
        self._live = None

    def show(self, now: datetime, jobs: list[Json], outlook: Json) -> None:
        """Curve above, jobs below."""
        if self._live is not None:
            self._live.update(self.frame(now, jobs, outlook))

    def frame(self, now: datetime, jobs: list[Json], outlook: Json) -> Group:
        """What a terminal shows at one moment."""
        return Group(Text.from_ansi(_chart(now, outlook, self._console.width)), _table(now, jobs))

    def finish(self, document: Json, report: Json) -> None:
        """The receipt of the whole play."""
        self._console.print(_receipt(document))
        for line in _sentences(document, report):
            self._console.print(line)


def _chart(now: datetime, outlook: Json, width: int) -> str:
    """Recorded intensity up to now and the forecast as issued after it."""
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(min(width, CHART_WIDTH), CHART_HEIGHT)
    for key, marker in (("actual", "hd"), ("forecast", "dot")):
        if outlook[key]:
            hours = [_hours(p["start"], now) for p in outlook[key]]
            signal = figure.signal(hours, [p["g_per_kwh"] for p in outlook[key]], marker=marker)
            signal.lines()
            figure.draw(signal)
    figure.title(f"Great Britain, gCO2e/kWh: recorded until {now:%a %H:%M} UTC (solid), then forecast")
    ticks = _six_hourly(outlook)
    figure.ruler("x").ticks([_hours(t.isoformat(), now) for t in ticks], [f"{t:%a %H:%M}" for t in ticks])
    return str(figure.build()).rstrip()


def _hours(stamp: str, now: datetime) -> float:
    return (datetime.fromisoformat(stamp) - now) / timedelta(hours=1)


def _six_hourly(outlook: Json) -> list[datetime]:
    """The full quarters of a day that the chart covers."""
    shown = [datetime.fromisoformat(p["start"]) for key in ("actual", "forecast") for p in outlook[key]]
    return sorted({t for t in shown if t.hour % 6 == 0 and t.minute == 0})


def _table(now: datetime, jobs: list[Json]) -> Table:
    """One to three lines a job, so that chart and table fit a terminal of 80 columns and 30 lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("JOB", "STATE", "START", "SUSP."):
        table.add_column(name, no_wrap=True)
    table.add_column("WHY")
    for job in reversed(jobs):
        start = job["started_at"] or job["planned_start_at"]
        table.add_row(
            job["name"],
            Text(job["state"], style=STYLE.get(job["state"], "")),
            "-" if start is None else f"{datetime.fromisoformat(start):%a %H:%M}",
            str(job["suspensions"]),
            job["reason"]["sentence"],
        )
    table.caption = f"{now:%a %H:%M} UTC on the demo's clock"
    return table


def _receipt(document: Json) -> Table:
    """Fits 80 columns; a column for the state appears only when some job has not succeeded."""
    odd = any(job["state"] != "succeeded" for job in document["jobs"])
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title="\nReceipt", title_justify="left")
    for name in ("JOB", "KIND", *(["STATE"] if odd else [])):
        table.add_column(name, no_wrap=True)
    for name in ("WAITED", "SUSP.", "kWh", "gCO2e", "AT ONCE", "AVOIDED", "ACC.", "/kWh"):
        table.add_column(name, justify="right", no_wrap=True)
    for job in document["jobs"]:
        name, kind, *figures = _receipt_row(job)
        table.add_row(name, kind, *([job["state"]] if odd else []), *figures)
    table.caption = "AT ONCE: gCO2e had it run as soon as it could; /kWh: accuracy per kWh"
    table.caption_justify = "left"
    return table


def _receipt_row(job: Json) -> list[str]:
    energy, emitted, base = job["energy_kwh"], job["emissions_g"], job["baseline_emissions_g"]
    accuracy = job["accuracy"]
    waited = "-"
    if job["started"]:
        wait = datetime.fromisoformat(job["started"]) - datetime.fromisoformat(job["submitted"])
        waited = f"{wait / timedelta(hours=1):.1f} h"
    return [
        job["name"],
        job["kind"],
        waited,
        str(job["suspensions"]),
        _figure(energy, "{:.3f}"),
        _figure(emitted, "{:.2f}"),
        _figure(base, "{:.2f}"),
        "-" if not base or emitted is None else _share((base - emitted) / base),
        _figure(accuracy, "{:.3f}"),
        _figure(accuracy / energy if accuracy is not None and energy else None, "{:.1f}"),
    ]


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _share(value: float) -> str:
    """A percentage; what rounds to nothing has no sign."""
    return f"{round(value * 100) or 0} %"


def _sentences(document: Json, report: Json) -> list[Text]:
    """The sums, and what is recorded, scaled, measured and modelled."""
    lines = [Text()]
    if document["avoided_fraction"] is not None:
        total = (
            f"{report['energy_kwh']:.3f} kWh, {document['emissions_g']:.2f} gCO2e; "
            f"{document['avoided_g']:.2f} g ({_share(document['avoided_fraction'])}) avoided against running at once."
        )
        lines.append(Text(total, style="bold"))
    told = [
        f"Recorded: the grid (Great Britain, {document['grid']['from'][:10]}), actuals and forecasts as issued.",
        "Real: Ray, the training jobs and their data, checkpoints, suspensions and accuracies.",
        *report["notes"],
        *(f"{thanks}." for thanks in report["attribution"]),
    ]
    return [*lines, *(Text(line, style="dim") for line in told)]
