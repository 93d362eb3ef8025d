"""The grid forecast in the terminal: a chart with the good windows marked, and the figures under it."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

from lowtide.scheduler.cli.table import Cell, Column, facts, has_colour, table, terminal_width
from lowtide.scheduler.cli.words import NONE, local, moment_of, span, zone_name

Json = dict[str, Any]
CHART_WIDTH = 100
CHART_HEIGHT = 18
TICKS = 7


def forecast_text(forecast: Json, zone: tzinfo | None = None) -> str:
    """Chart, windows and the source of the data."""
    parts = [chart(forecast, zone), windows_text(forecast), source_text(forecast)]
    return "\n".join(part for part in parts if part)


def chart(forecast: Json, zone: tzinfo | None = None) -> str:
    """Recorded and forecast intensity over local time; windows are drawn at their mean."""
    if not forecast["actual"] and not forecast["forecast"]:
        return "There are no figures to draw: jobs run at once until the grid source answers."
    import plotext  # noqa: PLC0415 - 0.3 s that only a chart should cost

    plotext.clear_figure()
    plotext.theme("pro" if has_colour() else "clear")
    plotext.plotsize(min(terminal_width() or CHART_WIDTH, 120), CHART_HEIGHT)
    series = (("actual", "recorded", "white"), ("forecast", "forecast", "cyan"))
    for key, name, colour in series:
        if forecast[key]:
            hours, values = _points(forecast, forecast[key], "g_per_kwh")
            plotext.plot(hours, values, label=name, color=colour, marker="braille")
    for number, window in enumerate(forecast["windows"]):
        ends = [_hours(forecast, window["start"]), _hours(forecast, window["end"])]
        label = "low-carbon window" if number == 0 else None
        plotext.plot(ends, [window["mean_g_per_kwh"]] * 2, label=label, color="green", marker="hd")
    plotext.title(f"{forecast['zone']}: grid intensity, gCO2e/kWh, times in {zone_name(zone, forecast['now'])}")
    _ticks(plotext, forecast, zone)
    return str(plotext.build()).rstrip()


def _points(forecast: Json, slots: Sequence[Json], key: str) -> tuple[list[float], list[float]]:
    return [_hours(forecast, slot["start"]) for slot in slots], [float(slot[key]) for slot in slots]


def _hours(forecast: Json, text: str) -> float:
    """Hours since now; the axis is labelled in local time afterwards."""
    return (_aware(text) - _aware(forecast["now"])).total_seconds() / 3600


def _aware(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _ticks(plotext: Any, forecast: Json, zone: tzinfo | None) -> None:
    slots = [*forecast["actual"], *forecast["forecast"]]
    chosen = [slots[round(i * (len(slots) - 1) / (TICKS - 1))] for i in range(TICKS)]
    positions = [_hours(forecast, slot["start"]) for slot in chosen]
    labels = [_aware(slot["start"]).astimezone(zone).strftime("%a %H:%M") for slot in chosen]
    plotext.xticks(positions, labels)


def windows_text(forecast: Json) -> str:
    """The windows as a table, in order of time."""
    windows = sorted(forecast["windows"], key=lambda w: str(w["start"]))
    if not windows:
        return ""
    now_g = _intensity_now(forecast)
    rows = [
        [
            Cell(local(window["start"])),
            Cell(local(window["end"])),
            Cell(f"{window['mean_g_per_kwh']:.0f}"),
            Cell(NONE if not now_g else f"{window['mean_g_per_kwh'] / now_g - 1:+.0%}"),
            Cell(window["note"] or ""),
        ]
        for window in windows
    ]
    columns = [Column("LOW-CARBON WINDOW"), Column("UNTIL"), Column("gCO2e/kWh", is_number=True)]
    return table([*columns, Column("VS NOW", is_number=True), Column("NOTE")], rows)


def _intensity_now(forecast: Json) -> float | None:
    """The forecast for the slot that holds now: forecasts are compared with forecasts only."""
    now = moment_of(forecast["now"])
    for slot in forecast["forecast"]:
        if now and _aware(slot["start"]) <= now < _aware(slot["end"]):
            return float(slot["g_per_kwh"])
    return None


def source_text(forecast: Json) -> str:
    """Where the figures come from and how old they are."""
    kind = ", ".join(str(forecast[key]) for key in ("signal", "basis") if forecast.get(key))
    age_s = forecast.get("age_s")
    age = f", {span(age_s)} old" if age_s is not None and forecast["source"] else ""
    return facts(
        [
            ("source", f"{forecast['source'] or 'none'}{f' ({kind})' if kind else ''}{age}"),
            ("quality", str(forecast["rung"]).replace("_", " ")),
            ("issued", local(forecast["issued_at"]) if forecast.get("issued_at") else ""),
            ("trouble", forecast.get("trouble") or ""),
            ("data", forecast.get("attribution") or ""),
        ]
    )
