"""What the options of ``lowtide simulate`` say, read and checked."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lowtide.scheduler.cli.simulate_flags import Asked
from lowtide.scheduler.model.data import USUAL_KWH_PER_GB
from lowtide.scheduler.model.errors import BadInput

if TYPE_CHECKING:
    from lowtide.scheduler.cli.simulate_sweep import Axis
    from lowtide.scheduler.model.series import Series
    from lowtide.scheduler.model.tariff import AnyTariff, Tariff
    from lowtide.scheduler.settings import Settings
    from lowtide.scheduler.simulate.foretold import Issued
    from lowtide.scheduler.simulate.installation import Booked
    from lowtide.scheduler.simulate.play import Estimate, Patience, Play

    Issues = dict[str, tuple[Series, ...]]

T = TypeVar("T")


def plays_of(asked: Asked) -> "list[Play]":
    """Everything that is asked for, all of it checked: a mistake in the last must not cost the others.

    Raises:
        BadInput: something cannot be read, is not sound, or cannot be played.

    """
    from lowtide.scheduler.cli.simulate_sweep import crossed  # noqa: PLC0415 - SciPy is slow to import
    from lowtide.scheduler.simulate.check import check  # noqa: PLC0415 - as above

    check_together(asked)
    settings, policies = _settings_of(asked), asked.policy or ["settings"]
    scenes = _scenes(asked, settings, policies)
    issues = issues_of(asked.forecast, scenes, is_raw=asked.as_issued)
    if issues is not None:
        scenes = [replace(one, issued=issued_of(one, issues, is_raw=asked.as_issued)) for one in scenes]
    plays = crossed(scenes, caps_of(asked.gpus or []), policies, [axis_of(text) for text in asked.param or []])
    for play in plays:
        check(play)
    return plays


def check_together(asked: Asked) -> None:
    """Make sure that no option speaks of what another has settled.

    Raises:
        BadInput: two of them do not go together, or one needs another.

    """
    for name, value in (("gpus", asked.gpus), ("each-zone", asked.each_zone)):
        if asked.settings is not None and value:
            message = f"--{name} says where to play, and so does --settings."
            raise BadInput(message, fix="Give one of them: the sites of the settings have their own GPUs and zones.")
    if asked.settings is None and asked.reservations is not None:
        raise BadInput("--reservations are at sites, and none are declared.", fix="Give --settings YAML.")
    sets = [name for name in asked.policy or [] if name.endswith((".yaml", ".yml"))]
    if asked.settings is None and sets:
        message = f"--policy {sets[0]} is a policy set, and there are no queues that it could decide for."
        raise BadInput(message, fix="Give --settings YAML, or the name of a policy.")
    if asked.settings is None and not asked.policy:
        raise BadInput("no policy is named.", fix="Give --policy NAME; with --settings what these say is played.")


def _settings_of(asked: Asked) -> "Settings | None":
    from lowtide.scheduler.cli.simulate_settings import settings_of  # noqa: PLC0415 - as above

    return None if asked.settings is None else settings_of(asked.settings)


def _scenes(asked: Asked, settings: "Settings | None", policies: list[str]) -> "list[Play]":
    """One play for each file of intensity, or with ``--each-zone`` for each of its zones; the policy is left open."""
    read = partial(_scene, asked, settings, policies)
    scenes = [read(file) for file in asked.intensity]
    if not asked.each_zone:
        return scenes
    return [replace(scene, intensity={zone: series}) for scene in scenes for zone, series in scene.intensity.items()]


def _scene(asked: Asked, settings: "Settings | None", policies: list[str], file: Path) -> "Play":
    """The trace and the intensity, the time that they are played in, and all that policies are not told of."""
    from lowtide.scheduler.simulate.play import Patience, Play  # noqa: PLC0415 - as above
    from lowtide.scheduler.simulate.trace import read_jobs  # noqa: PLC0415 - as above

    zones = _intensity(file, settings)
    begin, end = _span(asked, zones)
    bare = Play(read_jobs(_read(asked.jobs), asked.jobs.name), zones, "", begin, end)
    usual_patience = Patience() if settings is None else None
    tariffs = tariffs_of(asked.tariff, zones)
    scene = replace(
        bare,
        patience=usual_patience if asked.patience is None else patience_of(asked.patience),
        power_w=positive("--power-w", asked.power_w) or (bare.power_w if settings is None else settings.gpu_power_w),
        slot_s=_slot_s(asked, settings) or bare.slot_s,
        is_interruptible=asked.interruptible,
        is_bound_wanted=asked.bound,
        estimate=estimate_of(asked.estimate),
        is_clairvoyant=asked.clairvoyant,
        seed=asked.seed,
        transfer_kwh_per_gb=_kwh_per_gb(asked, settings),
    )
    return _placed(scene, asked, settings, policies, tariffs)


def _placed(
    scene: "Play", asked: Asked, settings: "Settings | None", policies: list[str], tariffs: "Mapping[str, AnyTariff]"
) -> "Play":
    """The scene at zones that are sites, or at the sites of the settings."""
    from lowtide.scheduler.cli.simulate_settings import installation_of, otherwise  # noqa: PLC0415 - as above

    switch_s = None if asked.switch_cost is None else seconds("--switch-cost", asked.switch_cost)
    gbit_per_s = positive("--transfer-gbit-per-s", asked.transfer_gbit_per_s)
    has_tariff = bool(tariffs) or (settings is not None and any(site.tariff for site in settings.sites))
    money = worth("--money-g-per-unit", asked.money_g_per_unit, has_tariff=has_tariff)
    if settings is None:
        told = {"switch_s": switch_s, "transfer_gbit_per_s": gbit_per_s, "money_g_per_unit": money}
        changes: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
        return replace(scene, tariffs=tariffs, **changes)
    found = installation_of(settings, policies, _booked(asked.reservations))
    found = otherwise(found, switch_s=switch_s, money_g_per_unit=money, gbit_per_s=gbit_per_s, tariffs=tariffs)
    return replace(scene, installation=found)


def _intensity(file: Path, settings: "Settings | None") -> "dict[str, Series]":
    """By zone; of settings only the zones that are theirs, and a file that names none tells of their only one."""
    from lowtide.scheduler.simulate.trace import read_intensity  # noqa: PLC0415 - as above

    wanted = set() if settings is None else {site.zone for site in settings.sites}
    zones = read_intensity(_read(file), file.name, next(iter(wanted)) if len(wanted) == 1 else file.stem)
    used = {zone: series for zone, series in zones.items() if zone in wanted}
    return used if wanted and wanted <= used.keys() else zones


def _span(asked: Asked, zones: "Mapping[str, Series]") -> tuple[datetime, datetime]:
    first = max(series.points[0].start for series in zones.values())
    last = min(series.points[-1].end for series in zones.values())
    begin = first if asked.start is None else _moment(asked.start)
    hours = positive("--hours", asked.hours)
    return begin, last if hours is None else begin + timedelta(hours=hours)


def _slot_s(asked: Asked, settings: "Settings | None") -> float | None:
    if asked.slot is not None:
        return positive("--slot", seconds("--slot", asked.slot))
    return None if settings is None else settings.slot_s


def _kwh_per_gb(asked: Asked, settings: "Settings | None") -> float:
    if asked.transfer_kwh_per_gb is not None:
        return positive("--transfer-kwh-per-gb", asked.transfer_kwh_per_gb)
    return USUAL_KWH_PER_GB if settings is None else settings.transfer_kwh_per_gb


def _booked(path: Path | None) -> "tuple[Booked, ...]":
    from lowtide.scheduler.simulate.trace import read_reservations  # noqa: PLC0415 - as above

    return () if path is None else read_reservations(_read(path), path.name)


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


def tariffs_of(path: Path | None, zones: "Iterable[str]") -> "dict[str, AnyTariff]":
    """What ``--tariff`` holds by zone: prices as CSV, or a tariff that holds for all of them; nothing without."""
    from lowtide.scheduler.simulate.trace import read_prices  # noqa: PLC0415 - as above

    if path is None:
        return {}
    if path.suffix.lower() == ".csv":
        return dict(read_prices(_read(path), path.name, zones))
    return dict.fromkeys(zones, _tariff_of(path))


def _tariff_of(path: Path) -> "Tariff":
    """Currency, timezone and rates, as in the settings of a site."""
    import yaml  # noqa: PLC0415 - as above
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    from lowtide.scheduler.tariff_settings import TariffSettings  # noqa: PLC0415 - as above

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


def worth(option: str, value: float | None, *, has_tariff: bool) -> float | None:
    """The value, or BadInput where it is less than 0, or there is no price that it could weigh."""
    if value is None:
        return None
    if not 0 <= value < math.inf:
        raise BadInput(f"{option} is {value}.", fix="Give 0 or more.")
    if value and not has_tariff:
        raise BadInput(f"{option} weighs what electricity costs, and that is not told.", fix="Give --tariff FILE.")
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
