"""A daemon that was killed, and whose grid source is away when it comes back days later."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.grid_server import Reply, a_vendor
from tests.contract.test_grid_http_json import ACTUAL, json_like
from tests.daemons import Json, RealDaemon, until


def forecast(daemon: RealDaemon) -> Json:
    found: Json = daemon.ask("GET", "/v1/forecast?zone=campus&duration_s=7200")[1]
    return found


def kept(daemon: RealDaemon) -> int:
    """How many figures the store has."""
    with closing(sqlite3.connect(f"file:{daemon.data_dir / 'lowtide.db'}?mode=ro", uri=True)) as store:
        return int(store.execute("SELECT COUNT(*) FROM intensity").fetchone()[0])


def test_old_figures_steer_after_a_kill_only_where_the_site_asks_for_it(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    later = ("--clock-start", (now + timedelta(days=4)).isoformat(), "--clock-rate", "1")
    site = {"name": "lab", "address": "http://127.0.0.1:9", "gpus": 1, "cpus": 1, "zone": "campus"}
    with a_vendor(json_like(now)) as vendor:
        options = {"url": vendor.url, "zones": ["campus"], "signal": "average", "basis": "direct", "actual": ACTUAL}
        grids = [{"name": "http_json", "options": options}]
        asking = RealDaemon(tmp_path / "data", {"sites": [{**site, "climatology": True}], "grids": grids})
        asking.start(wait=False).await_open()
        until(lambda: forecast(asking)["rung"] == "own_forecast", "the history to come")
        until(lambda: kept(asking), "the history to be kept")
        asking.kill()
        vendor.answer = lambda _: Reply(503)
        asking.start(*later, wait=False).await_open()
        until(lambda: forecast(asking)["calibration"]["captured"], "the skill of old figures")
        found = forecast(asking)
        assert (found["rung"], len(found["windows"]) > 0) == ("climatology", True)
        assert found["calibration"]["captured"] == pytest.approx(1.0)
        assert (found["source"], found["signal"], found["basis"]) == ("http_json", "average", "direct")
        metrics = asking.ask("GET", "/metrics")[1]
        assert 'lowtide_forecast_captured_ratio{forecast="climatology",zone="campus"} 1.0' in metrics
        assert 'lowtide_forecast_rung{rung="climatology",zone="campus"} 1.0' in metrics
        asking.stop()
        silent = RealDaemon(tmp_path / "data", {"sites": [site], "grids": grids})
        silent.start(*later, wait=False).await_open()
        until(lambda: forecast(silent)["trouble"], "the source to be asked")
        assert (forecast(silent)["rung"], forecast(silent)["windows"]) == ("blind", [])
        silent.stop()
