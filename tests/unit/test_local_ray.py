"""The private cluster's book-keeping, tried on small processes in Ray's place."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lowtide.connectors.cluster import local_ray
from lowtide.connectors.cluster.local_ray import TAG, Found, LocalRay, Ports
from lowtide.scheduler.model.errors import ClusterFailure

PORTS = Ports(1, 2, 3, 4, 5, 6, 7, 8)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalRay]:
    made = LocalRay(tmp_path, gpus=1, cpus=2)
    made._home.mkdir(parents=True)
    yield made
    made.stop()


def a_record(cluster: LocalRay, tmp_path: Path) -> Found:
    found = Found("tag-" + os.urandom(4).hex(), str(tmp_path / "temp"), PORTS)
    cluster._write(found)
    return found


def a_process(found: Found, source: str = "", **environ: str) -> subprocess.Popen[str]:
    """A process of the cluster that has said it is ready, so its environment and handlers are in place."""
    program = f"import signal, sys\n{source}\nprint('ready', flush=True)\nsignal.pause()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, TAG: found.tag, **environ},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def test_every_process_with_the_tag_is_ended_whatever_its_session_and_manners(
    cluster: LocalRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_ray, "TERM_S", 0.3)
    found = a_record(cluster, tmp_path)
    stranger = a_process(replace(found, tag="another"))
    saved = tmp_path / "saved"
    polite = a_process(found, f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(open({str(saved)!r}, 'w').close()))")
    stubborn = a_process(found, "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    try:
        assert cluster.is_alive()
        cluster.stop()
        assert saved.exists()
        assert polite.poll() is not None
        assert stubborn.poll() is not None
        assert stranger.poll() is None
        assert not cluster.is_alive()
    finally:
        stranger.kill()
        stranger.wait()


def test_attempts_with_a_process_are_named_and_no_others(cluster: LocalRay, tmp_path: Path) -> None:
    assert cluster.living_attempts() is None
    found = a_record(cluster, tmp_path)
    assert cluster.living_attempts() == set()
    ours = a_process(found, LOWTIDE_ATTEMPT_ID="j-a1")
    other = a_process(replace(found, tag="another"), LOWTIDE_ATTEMPT_ID="j-a2")
    try:
        assert cluster.living_attempts() == {"j-a1"}
        ours.kill()
        ours.wait()
        assert cluster.living_attempts() == set()
    finally:
        other.kill()
        other.wait()


def a_false_ray(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``ray`` beside a ``python``, which is where the real one is looked for."""
    folder = folder / "bin"
    folder.mkdir()
    program = folder / "ray"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))


def test_a_ray_that_refuses_is_quoted_tried_twice_and_leaves_nothing(
    cluster: LocalRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_ray, "TERM_S", 0.3)
    tries = tmp_path / "tries"
    script = f"echo x >> {tries}; sleep 600 & echo no room on this machine >&2; exit 7"
    a_false_ray(tmp_path, script, monkeypatch)
    with pytest.raises(ClusterFailure, match=r"exit code 7.*no room on this machine") as caught:
        asyncio.run(cluster.ensure())
    assert "start.log" in caught.value.fix
    assert tries.read_text() == "x\nx\n"
    assert not cluster.is_alive()
    assert not cluster._state.exists()


def test_a_ray_that_never_finishes_starting_is_ended(
    cluster: LocalRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_ray, "START_S", 0.3)
    monkeypatch.setattr(local_ray, "TERM_S", 0.3)
    a_false_ray(tmp_path, "sleep 600", monkeypatch)
    with pytest.raises(ClusterFailure, match="did not start within"):
        asyncio.run(cluster.ensure())
    assert not cluster.is_alive()


def test_the_record_is_written_before_anything_is_started(
    cluster: LocalRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    a_false_ray(tmp_path, f"cp {cluster._state} {seen}; exit 1", monkeypatch)
    with pytest.raises(ClusterFailure):
        asyncio.run(cluster.ensure())
    assert json.loads(seen.read_text())["tag"]


def test_a_broken_record_is_put_aside_and_not_believed(cluster: LocalRay) -> None:
    for text in ("", "{}", "[]", '{"tag": 1, "ports": {}}'):
        cluster._state.write_text(text)
        assert not cluster.is_alive()
        assert not cluster._state.exists()
    assert cluster._state.with_suffix(".broken").exists()


def test_nothing_listens_for_the_network_and_every_port_differs(cluster: LocalRay, tmp_path: Path) -> None:
    found = replace(a_record(cluster, tmp_path), ports=local_ray._free_ports())
    command, environ = cluster._command(found), cluster._environment(found)
    assert {"--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"} <= set(command)
    assert environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    ports = [found.ports.gcs, found.ports.dashboard, found.ports.client, found.ports.agent, found.ports.metrics]
    ports += [found.ports.autoscaler_metrics, found.ports.dashboard_metrics]
    low, high = found.ports.worker_low, found.ports.worker_low + local_ray.WORKER_PORTS
    assert len(set(ports)) == len(ports)
    assert not any(low <= port < high for port in ports)


def test_settings_of_another_ray_do_not_leak_in(
    cluster: LocalRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("LOWTIDE_TOKEN", "s3cret")
    environ = cluster._environment(a_record(cluster, tmp_path))
    assert "RAY_ADDRESS" not in environ
    assert "LOWTIDE_TOKEN" not in environ
