"""Power limits on a fake NVML: set as planned and within bounds, put back whatever happens, refused in words."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.jobside import power

NO_PERMISSION = 4


class FakeNvml:
    """What ctypes sees of the library: two GPUs with 300 W each, at least 100 W."""

    def __init__(self, **limits_mw: int) -> None:
        self.limits_mw = limits_mw or {"0": 300_000, "1": 300_000}
        self.refuses, self.ignores, self.calls = "", False, 0
        self._names = list(self.limits_mw)

    def load(self, name: str) -> "FakeNvml":
        assert name == "libnvidia-ml.so.1"
        return self

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVML's name
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, pointer: Any) -> int:  # noqa: N802 - NVML's name
        pointer._obj.value = self._names.index(str(index.value)) + 1
        return 0

    def nvmlDeviceGetUUID(self, handle: Any, text: Any, _length: Any) -> int:  # noqa: N802 - NVML's name
        text.value = f"GPU-{self._names[handle.value - 1]}".encode()
        return 0

    def nvmlDeviceGetPowerManagementLimit(self, handle: Any, pointer: Any) -> int:  # noqa: N802 - NVML's name
        pointer._obj.value = self.limits_mw[self._names[handle.value - 1]]
        return 0

    def nvmlDeviceGetPowerManagementLimitConstraints(self, _: Any, least: Any, most: Any) -> int:  # noqa: N802
        least._obj.value, most._obj.value = 100_000, 400_000
        return 0

    def nvmlDeviceSetPowerManagementLimit(self, handle: Any, limit: Any) -> int:  # noqa: N802 - NVML's name
        self.calls += 1
        name = self._names[handle.value - 1]
        if name == self.refuses:
            return NO_PERMISSION
        if not self.ignores:
            self.limits_mw[name] = limit.value
        return 0


@pytest.fixture
def nvml() -> FakeNvml:
    return FakeNvml()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def limits(nvml: FakeNvml, notes: Path, *plan: tuple[float, float]) -> power.Limits:
    return power.Limits(["0", "1"], list(plan), notes, nvml.load)


def test_limits_are_set_when_they_are_due_and_only_then(nvml: FakeNvml, notes: Path) -> None:
    gpus = limits(nvml, notes, (10.0, 0.6), (20.0, 0.8), (30.0, 1.0))
    assert gpus.follow(9.0) is None
    assert gpus.follow(10.0) == (0.6, [180_000, 180_000])
    assert gpus.follow(15.0) is None
    assert gpus.follow(21.0) == (0.8, [240_000, 240_000])
    assert gpus.follow(31.0) == (1.0, [300_000, 300_000])
    assert (nvml.limits_mw, gpus.refused) == ({"0": 300_000, "1": 300_000}, "")


def test_inv19_what_was_found_is_put_back_and_forgotten(notes: Path) -> None:
    nvml = FakeNvml(**{"0": 250_000, "1": 300_000})
    gpus = limits(nvml, notes, (0.0, 0.5))
    gpus.follow(1.0)
    assert nvml.limits_mw == {"0": 125_000, "1": 150_000}
    gpus.restore()
    assert (nvml.limits_mw, list(notes.iterdir())) == ({"0": 250_000, "1": 300_000}, [])


def test_inv19_what_a_runner_that_was_killed_has_left_is_put_back_by_the_next(nvml: FakeNvml, notes: Path) -> None:
    limits(nvml, notes, (0.0, 0.5)).follow(1.0)
    after = limits(nvml, notes)
    after.restore()
    assert (nvml.limits_mw, list(notes.iterdir())) == ({"0": 300_000, "1": 300_000}, [])


def test_inv19_what_was_found_is_put_back_though_the_guard_of_a_killed_runner_took_the_note_away(
    nvml: FakeNvml, notes: Path
) -> None:
    gpus = limits(nvml, notes, (0.0, 0.5), (9.0, 0.8))
    for now_s in (1.0, 10.0):
        gpus.follow(now_s)
        for note in notes.iterdir():
            note.unlink()
    gpus.restore()
    assert (nvml.limits_mw, list(notes.iterdir())) == ({"0": 300_000, "1": 300_000}, [])


def test_inv19_every_runner_of_a_node_looks_for_notes_in_one_folder_whatever_scratch_folder_its_job_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = power.notes_of({})
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert power.notes_of({"TMPDIR": str(tmp_path)}) == power.notes_of(dict(os.environ)) == before


def test_inv19_what_was_found_is_taken_from_the_note_and_not_from_what_somebody_left(
    nvml: FakeNvml, notes: Path
) -> None:
    limits(nvml, notes, (0.0, 0.5)).follow(1.0)
    assert limits(nvml, notes, (0.0, 0.8)).follow(1.0) == (0.8, [240_000, 240_000])


def test_inv20_no_limit_is_below_what_the_hardware_takes_or_above_what_was_found(notes: Path) -> None:
    nvml = FakeNvml(**{"0": 120_000, "1": 90_000})
    assert limits(nvml, notes, (0.0, 0.5)).follow(1.0) == (0.5, [100_000, 90_000])


def test_inv19_where_one_gpu_cannot_be_limited_none_is_and_nothing_is_tried_again(nvml: FakeNvml, notes: Path) -> None:
    nvml.refuses = "1"
    gpus = limits(nvml, notes, (0.0, 0.6), (9.0, 0.8))
    assert gpus.follow(1.0) is None
    assert gpus.refused == "nvmlDeviceSetPowerManagementLimit failed with NVML error 4"
    assert nvml.limits_mw == {"0": 300_000, "1": 300_000}
    calls = nvml.calls
    assert gpus.follow(10.0) is None
    assert nvml.calls == calls


def test_a_limit_that_does_not_stand_is_no_limit(nvml: FakeNvml, notes: Path) -> None:
    nvml.ignores = True
    gpus = limits(nvml, notes, (0.0, 0.6))
    assert gpus.follow(1.0) is None
    assert gpus.refused == "GPU 0 has a limit of 300000 mW after 180000 mW were set"


def test_a_node_without_nvml_and_a_job_without_gpus_say_so(nvml: FakeNvml, notes: Path) -> None:
    def missing(_name: str) -> Any:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    alone = power.Limits(["0"], [(0.0, 0.6)], notes, missing)
    assert alone.follow(1.0) is None
    assert "cannot open" in alone.refused
    none = power.Limits([], [(0.0, 0.6)], notes, nvml.load)
    assert none.follow(1.0) is None
    assert none.refused == "the job sees no GPU"


def test_a_folder_that_belongs_to_somebody_else_is_neither_written_nor_believed(
    nvml: FakeNvml, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes.mkdir()
    (notes / "GPU-0.mw").write_text("400000")
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    gpus = limits(nvml, notes, (0.0, 0.6))
    assert gpus.follow(1.0) is None
    assert "belongs to somebody else" in gpus.refused
    assert nvml.limits_mw == {"0": 300_000, "1": 300_000}


@pytest.mark.parametrize("text", ["{", "1", '[["now", 0.5]]', "[[1, 0]]", "[[1, 1.5]]", "[[1]]", "[[Infinity, 0.5]]"])
def test_a_plan_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="LOWTIDE_POWER_PLAN is"):
        power.read_plan(text)


def test_a_plan_is_read_as_the_daemon_writes_it() -> None:
    assert power.read_plan(json.dumps([[5.5, 0.6], [9, 1.0]])) == [(5.5, 0.6), (9.0, 1.0)]
    assert power.read_plan("") == []
