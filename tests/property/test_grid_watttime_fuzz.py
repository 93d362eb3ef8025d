"""Whatever WattTime says, or seems to: a sane series or a grid failure (INV-11, INV-12)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowtide.connectors.grid.watttime import WattTime
from lowtide.scheduler.model.errors import GridFailure
from tests.property.mutation import Canned, hold, mutated, outcome, thorough

NOW = datetime(2026, 3, 10, 12, 10, tzinfo=UTC)
META = {
    "data_point_period_seconds": 300,
    "region": "PJM_NJ",
    "warnings": [{"type": "X", "message": "mind the gap"}, "plain"],
    "signal_type": "co2_moer",
    "model": {"date": "2023-03-01"},
    "units": "lbs_co2_per_mwh",
    "generated_at": "2026-03-10T12:10:00+00:00",
}
PAST = {
    "data": [
        {"point_time": f"2026-03-10T11:{minute:02}:00+00:00", "value": 900.5 + minute, "imputed_data_used": False}
        for minute in range(0, 60, 5)
    ],
    "meta": META,
}
AHEAD = {
    "data": [{"point_time": f"2026-03-10T12:{minute:02}:00+00:00", "value": 870} for minute in range(10, 60, 5)],
    "meta": META,
}
ACCESS = {
    "signal_types": [
        {
            "signal_type": "co2_moer",
            "regions": [{"region": "PJM_NJ", "region_full_name": "PJM", "endpoints": [{"endpoint": "v3/forecast"}]}],
        }
    ]
}
LOGIN = {"token": "ticket"}


def source_with(tmp_path: Path, body: bytes, login: bytes, access: bytes) -> WattTime:
    path = tmp_path / "account"
    path.write_text("hush")
    source = WattTime(username_file=str(path), password_file=str(path), base_url="http://vendor")
    source._api._http = Canned(body, {"/login": login, "/v3/my-access": access})
    return source


@settings(thorough(), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(past=mutated(PAST), ahead=mutated(AHEAD), access=mutated(ACCESS), minutes=st.integers(0, 120))
def test_any_body_is_a_sane_series_or_a_grid_failure(
    tmp_path: Path, past: bytes, ahead: bytes, access: bytes, minutes: int
) -> None:
    login = json.dumps(LOGIN).encode()
    start = NOW - timedelta(minutes=minutes)
    told = outcome(source_with(tmp_path, past, login, access).actual("PJM_NJ", start, NOW, NOW))
    for found in (told, outcome(source_with(tmp_path, ahead, login, access).forecast("PJM_NJ", NOW))):
        hold(found, "PJM_NJ")
        assert "hush" not in str(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(login=mutated(LOGIN), access=mutated(ACCESS))
def test_any_login_and_any_access_are_one_or_a_grid_failure(tmp_path: Path, login: bytes, access: bytes) -> None:
    source = source_with(tmp_path, b"", login, access)
    found = outcome(source.probe(NOW))
    assert isinstance(found, GridFailure) or {one.zone for one in found} == set(source.zones())
