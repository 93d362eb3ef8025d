"""The exposition of a running daemon, held to promtool and to the documentation."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.daemons import RealDaemon

ROOT = Path(__file__).parents[2]
SITE = {"name": "lab", "address": "http://127.0.0.1:9", "gpus": 2, "cpus": 4, "zone": "GB", "grid": "static"}


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> str:
    settings = {"sites": [SITE], "queues": [{"name": "research"}, {"name": "clinical", "urgency": "clinical"}]}
    daemon = RealDaemon(tmp_path_factory.mktemp("metrics"), settings).start()
    daemon.submit(entrypoint=["true"])
    status, text = daemon.ask("GET", "/metrics")
    daemon.stop()
    assert status == 200
    assert isinstance(text, str)
    return text


def names(exposition: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\S+) ", exposition, re.MULTILINE))


@pytest.mark.promtool
def test_promtool_finds_nothing_to_say(exposition: str) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr.strip()) == (0, "")


def test_every_metric_is_documented_and_every_documented_metric_is_there(exposition: str) -> None:
    told = set(re.findall(r"^\| `(lowtide_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    assert names(exposition) == told


def test_every_state_of_every_queue_is_there_from_the_start(exposition: str) -> None:
    assert 'lowtide_jobs{queue="clinical",state="suspended"} 0.0' in exposition
    assert 'lowtide_jobs_submitted_total{queue="research"} 1.0' in exposition
