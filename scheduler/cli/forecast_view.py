"""The grid forecast in the terminal: a chart with the good windows marked, and the figures under it."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from lowtide.scheduler.cli.table import Cell, Column, facts, has_colour, table, terminal_width
from lowtide.scheduler.cli.words import NONE, local, moment_of, rung_words, skill_words, span, zone_name

Json = dict[str, Any]
LONG_AGO = timedelta(days=300)
CHART_WIDTH = 100
MAX_CHART_WIDTH = 120
CHART_HEIGHT = 18
TICKS = 6
RECORDED, AHEAD, WINDOW, EDGE = "braille", "hd", "█", "·"
CORRECTIONS = {
    "default": "with the newest actual figures, by default weights",
    "fitted": "with the newest actual figures, by weights that captured most so far",
    "none": "not: correcting would not have paid, or nothing is known to correct with",
}
BANDS = {
    "calibrated": "calibrated on what came",
    "mixed": "calibrated on what came at some leads, else default errors, widened",
    "default": "default errors, widened: there are too few past forecasts to calibrate on",
}
KEY = "       dotted: recorded    line: forecast    · 80 % band    █ low-carbon window, at its mean"


def forecast_text(forecast: Json, zone: tzinfo | None = None) -> str:
    """Chart, windows and the source of the data."""
    parts = [chart(forecast, zone), windows_text(forecast), source_text(forecast)]
    return "\n".join(part for part in parts if part)


def chart(forecast: Json, zone: tzinfo | None = None) -> str:
    """Recorded and forecast intensity over local time; windows are drawn at their mean."""
    slots = [*forecast["actual"], *forecast["forecast"]]
    if not slots:
        return "There are no figures to draw: jobs run at once until the grid source answers."
    import plotext  # noqa: PLC0415 - 0.3 s that only a chart should cost

    figure = plotext.figure
    figure.clear()
    figure.theme("simple" if has_colour() else "colorless")
    figure.plot_size(min(terminal_width() or CHART_WIDTH, MAX_CHART_WIDTH), CHART_HEIGHT)
    for key, marker in (("actual", RECORDED), ("forecast", AHEAD)):
        _draw(figure, [(_hours(forecast, s["start"]), float(s["g_per_kwh"])) for s in forecast[key]], marker)
    for edge in ("p10", "p90"):
        known = [s for s in forecast["forecast"] if edge in s]
        _draw(figure, [(_hours(forecast, s["start"]), float(s[edge])) for s in known], EDGE)
    for window in forecast["windows"]:
        ends = (_hours(forecast, window["start"]), _hours(forecast, window["end"]))
        _draw(figure, [(hour, float(window["mean_g_per_kwh"])) for hour in ends], WINDOW)
    figure.title(f"{forecast['zone']}: grid intensity, gCO2e/kWh, times in {zone_name(zone, forecast['now'])}")
    _ticks(figure, forecast, slots, zone)
    drawn = str(figure.build()).rstrip()
    return (drawn if has_colour() else plotext.uncolorize(drawn)) + f"\n{KEY}"


def _draw(figure: Any, points: Sequence[tuple[float, float]], marker: str) -> None:
    if points:
        signal = figure.signal([x for x, _ in points], [y for _, y in points], marker=marker)
        signal.lines()
        figure.draw(signal)


def _ticks(figure: Any, forecast: Json, slots: Sequence[Json], zone: tzinfo | None) -> None:
    chosen = [slots[round(i * (len(slots) - 1) / (TICKS - 1))] for i in range(TICKS)]
    positions = [_hours(forecast, slot["start"]) for slot in chosen]
    labels = [_aware(slot["start"]).astimezone(zone).strftime("%a %H:%M") for slot in chosen]
    figure.ruler("x").ticks(positions, labels)


def _hours(forecast: Json, text: str) -> float:
    """Hours since now; the axis is labelled in local time afterwards."""
    return (_aware(text) - _aware(forecast["now"])).total_seconds() / 3600


def _aware(text: str) -> datetime:
    return datetime.fromisoformat(text)


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
    note = Column("NOTE", is_flexible=True, wraps=True, drop=1)
    return table([*columns, Column("VS NOW", is_number=True), note], rows)


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
            ("quality", rung_words(forecast["rung"])),
            ("issued", _issued(forecast)),
            ("corrected", CORRECTIONS.get(str(forecast.get("correction")), "")),
            ("band", _band_words(forecast.get("calibration") or {})),
            ("captured", _skill_words(forecast)),
            ("set aside", " ".join(str(fault["sentence"]) for fault in forecast.get("faults") or [])),
            ("trouble", forecast.get("trouble") or ""),
            ("data", forecast.get("attribution") or ""),
        ]
    )


def _band_words(calibration: Json) -> str:
    """What the 80 % band rests on."""
    basis, moments = str(calibration.get("basis")), calibration.get("moments") or 0
    words = BANDS.get(basis, "")
    return f"{words}, from {moments} past forecasts" if words and basis != "default" else words


def _skill_words(forecast: Json) -> str:
    """What plans by such figures would have saved so far."""
    calibration = forecast.get("calibration") or {}
    return skill_words(forecast["rung"], calibration.get("captured"), calibration.get("moments"))


def _issued(forecast: Json) -> str:
    """When the figures were issued; a day and its year where that is long ago."""
    issued, now = moment_of(forecast.get("issued_at")), moment_of(forecast["now"])
    if issued is None or now is None:
        return ""
    return local(forecast["issued_at"]) if now - issued < LONG_AGO else f"{issued:%d %b %Y}"
