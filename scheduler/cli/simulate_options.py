"""What the options of ``lowtide simulate`` say, read and checked."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lowtide.scheduler.model.errors import BadInput

if TYPE_CHECKING:
    from lowtide.scheduler.cli.simulate_sweep import Axis
    from lowtide.scheduler.model.series import Series
    from lowtide.scheduler.model.tariff import Tariff
    from lowtide.scheduler.simulate.foretold import Issued
    from lowtide.scheduler.simulate.play import Estimate, Patience, Play

    Issues = dict[str, tuple[Series, ...]]

T = TypeVar("T")


def bases_of(jobs: Path, intensity: list[Path], start: str | None, hours: float | None, *, apart: bool) -> "list[Play]":
    """One play for each file of intensity, or with ``apart`` for each of its zones; the policy is left open."""
    whole = [play_of(jobs, file, start, hours) for file in intensity]
    if not apart:
        return whole
    return [replace(play, intensity={zone: series}) for play in whole for zone, series in play.intensity.items()]


def play_of(jobs: Path, intensity: Path, start: str | None, hours: float | None) -> "Play":
    """The trace and the intensity, and the time that they are played in; the policy is left open."""
    from lowtide.scheduler.simulate.play import Play  # noqa: PLC0415 - SciPy is slow to import
    from lowtide.scheduler.simulate.trace import read_intensity, read_jobs  # noqa: PLC0415 - as above

    zones = read_intensity(_read(intensity), intensity.name, intensity.stem)
    first = max(series.points[0].start for series in zones.values())
    last = min(series.points[-1].end for series in zones.values())
    begin = first if start is None else _moment(start)
    end = last if hours is None else begin + timedelta(hours=positive("--hours", hours) or 0.0)
    return Play(read_jobs(_read(jobs), jobs.name), zones, "", begin, end)


def issues_of(path: Path | None, bases: "list[Play]", *, is_raw: bool) -> "Issues | None":
    """The forecasts of ``--forecast`` by zone; None without."""
    from lowtide.scheduler.simulate.trace import read_forecasts  # noqa: PLC0415 - as above

    if path is None:
        if is_raw:
            raise BadInput("--as-issued says how forecasts are used, and there are none.", fix="Give --forecast CSV.")
        return None
    zones = {zone: series for play in bases for zone, series in play.intensity.items()}
    return read_forecasts(_read(path), path.name, zones)


def issued_of(play: "Play", issues: "Issues", *, is_raw: bool) -> "Issued":
    """What a play is told of the grid, where there are forecasts."""
    from lowtide.scheduler.simulate.foretold import Issued  # noqa: PLC0415 - as above

    return Issued(play.intensity, issues, play.slot_s, is_raw=is_raw)


def tariff_of(path: Path | None) -> "Tariff | None":
    """What ``--tariff`` holds: currency, timezone and rates, as in the settings of a site."""
    import yaml  # noqa: PLC0415 - as above
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    from lowtide.scheduler.tariff_settings import TariffSettings  # noqa: PLC0415 - as above

    if path is None:
        return None
    try:
        return TariffSettings.model_validate(yaml.safe_load(_read(path, "YAML"))).tariff()
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {error}.", fix="Give currency, timezone and rates.") from None
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'tariff'}: {e['msg']}" for e in error.errors())
        raise BadInput(f"{path}: {told}.", fix="Give currency, timezone and rates, see docs/settings.md.") from None


def _read(path: Path, kind: str = "CSV") -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.", fix=f"Give a {kind} file in UTF-8.") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"--start {text!r} is no time.", fix="Give for example 2022-10-19T16:00Z.") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def axis_of(text: str) -> "Axis":
    """One ``--param [POLICY.]NAME=VALUE[,VALUE]``."""
    from lowtide.scheduler.cli.simulate_sweep import Axis  # noqa: PLC0415 - as above

    name, _, told = text.partition("=")
    policy, _, bare = name.rpartition(".")
    values = _asked("--param", text, lambda: tuple(float(one) for one in told.split(",")), "percentile=20,30")
    return Axis(policy, bare, values)


def caps_of(told: list[str]) -> list[int | None]:
    """Every cap of ``--gpus N[,N]``; none is no limit."""
    texts = [one.strip() for text in told for one in text.split(",")]
    caps = [None if one == "none" else _asked("--gpus", one, partial(int, one), "49,30,none") for one in texts]
    return [positive("--gpus", cap) for cap in caps] or [None]


def positive(option: str, value: T) -> T:
    """The value, or BadInput unless it is more than 0."""
    if value is not None and not value > 0:  # type: ignore[operator]  # numbers only
        raise BadInput(f"{option} is {value}.", fix="Give more than 0.")
    return value


def worth(option: str, value: float, *, has_tariff: bool) -> float:
    """The value, or BadInput where it is less than 0, or there is no price that it could weigh."""
    if not 0 <= value < math.inf:
        raise BadInput(f"{option} is {value}.", fix="Give 0 or more.")
    if value and not has_tariff:
        raise BadInput(f"{option} weighs what electricity costs, and that is not told.", fix="Give --tariff YAML.")
    return value


def seconds(option: str, text: str) -> float:
    """A length of time in seconds."""
    from lowtide.scheduler.model.quantity import duration_s  # noqa: PLC0415 - status does not need it

    return _asked(option, text, lambda: duration_s(text), "15m")


def estimate_of(text: str) -> "Estimate":
    """What ``--estimate`` says."""
    from lowtide.scheduler.simulate.play import Estimate  # noqa: PLC0415 - as above

    return _asked("--estimate", text, lambda: Estimate(text), " or ".join(Estimate))


def patience_of(text: str) -> "Patience":
    """What ``--patience`` says."""
    from lowtide.scheduler.simulate.play import Patience  # noqa: PLC0415 - as above

    parts = dict(one.partition("=")[::2] for one in text.split(","))
    fields = {f"{name.strip()}_s": seconds("--patience", value) for name, value in parts.items()}
    return _asked("--patience", text, lambda: Patience(**fields), "short=6h,long=24h,split=2h")


def _asked(option: str, text: str, read: Callable[[], T], example: str) -> T:
    try:
        return read()
    except (TypeError, ValueError):
        raise BadInput(f"{option} {text!r} is not understood.", fix=f"Give for example {option} {example}.") from None


def check_page(path: Path) -> None:
    """Make sure that a page can be drawn and written, before anything is played for it."""
    from lowtide.scheduler.simulate.page import check_plotly  # noqa: PLC0415 - as above

    check_plotly()
    try:
        path.touch()
    except OSError as error:
        raise BadInput(f"--html {path} cannot be written: {error}.", fix="Name a file in a folder of yours.") from None
