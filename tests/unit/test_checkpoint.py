"""Saving, loading, fencing and asking, in one process; the runner is played by a directory and a dict."""

import errno
import json
import os
import pickle
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.jobside import checkpoint, directory, record

FENCE = "0f3c"


@pytest.fixture(autouse=True)
def sigterm_as_found() -> Iterator[None]:
    found = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, found)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "control").mkdir()
    return {
        "LOWTIDE_FENCE": FENCE,
        "LOWTIDE_ATTEMPT_ID": "train-a1",
        "LOWTIDE_FENCE_NUMBER": "1",
        "LOWTIDE_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
        "LOWTIDE_CONTROL_DIR": str(tmp_path / "control"),
    }


def attempt(environ: dict[str, str], number: int, **more: Any) -> checkpoint.Session:
    ours = {"LOWTIDE_ATTEMPT_ID": f"train-a{number}", "LOWTIDE_FENCE_NUMBER": str(number)}
    return checkpoint.Session({**environ, **ours}, **more)


def root(environ: dict[str, str]) -> Path:
    return Path(environ["LOWTIDE_CHECKPOINT_DIR"])


def names(environ: dict[str, str]) -> list[str]:
    return sorted(path.name for path in root(environ).glob("ckpt-*"))


def ask(environ: dict[str, str]) -> None:
    (Path(environ["LOWTIDE_CONTROL_DIR"]) / checkpoint.SUSPEND_FLAG).touch()


def marked(environ: dict[str, str]) -> bool:
    return (Path(environ["LOWTIDE_CONTROL_DIR"]) / checkpoint.SUSPENDED_MARK).exists()


# ---- saving and loading ----


def test_what_was_saved_is_loaded_by_the_next_attempt(environ: dict[str, str]) -> None:
    first = attempt(environ, 1)
    assert first.load() is None
    assert not first.resumed
    first.save({"epoch": 4})
    second = attempt(environ, 2)
    assert second.load() == {"epoch": 4}
    assert second.resumed


def test_the_manifest_says_what_the_checkpoint_is(environ: dict[str, str]) -> None:
    attempt(environ, 1, clock=lambda: 1000.5).save([1, 2])
    folder = root(environ) / "ckpt-000001-train-a1"
    manifest = json.loads((folder / "manifest.json").read_text())
    state = (folder / "state.pkl").read_bytes()
    assert pickle.loads(state) == [1, 2]  # noqa: S301 - written two lines above
    assert (manifest["seq"], manifest["attempt"], manifest["number"]) == (1, "train-a1", 1)
    assert (manifest["size"], manifest["wall_s"]) == (len(state), 1000.5)


def test_the_newest_two_are_kept_and_nothing_half_written(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    for epoch in range(5):
        session.save(epoch)
    assert names(environ) == ["ckpt-000004-train-a1", "ckpt-000005-train-a1"]
    assert list(root(environ).glob(".new-*")) == []


def test_a_damaged_newest_falls_back_and_says_so(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    session = attempt(environ, 1)
    session.save("older")
    session.save("newer")
    (root(environ) / "ckpt-000002-train-a1" / "state.pkl").write_bytes(b"")
    assert attempt(environ, 2).load() == "older"
    assert "checkpoint ckpt-000002-train-a1 is damaged" in capsys.readouterr().err


def test_a_damaged_one_never_pushes_out_the_sound_one(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    session.save("older")
    session.save("newer")
    (root(environ) / "ckpt-000002-train-a1" / "manifest.json").write_text("[]")
    second = attempt(environ, 2)
    second.load()
    second.save("newest")
    assert names(environ) == ["ckpt-000001-train-a1", "ckpt-000003-train-a2"]


def test_nothing_sound_means_a_fresh_start(environ: dict[str, str]) -> None:
    attempt(environ, 1).save("only")
    (root(environ) / "ckpt-000001-train-a1" / "state.pkl").unlink()
    second = attempt(environ, 2)
    assert second.load() is None
    assert not second.resumed


def test_other_files_in_the_directory_are_passed_over(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    (root(environ) / "ckpt-notes-of-mine").write_text("x")
    (root(environ) / "fence-of-mine").write_text("x")
    session.save("state")
    assert attempt(environ, 2).load() == "state"


def test_other_formats_than_pickle_can_be_used(environ: dict[str, str]) -> None:
    def dump(state: Any, path: Path) -> None:
        path.write_text(json.dumps(state))

    attempt(environ, 1, dump=dump).save({"a": 1})
    found = attempt(environ, 2, dump=dump, load=lambda path: json.loads(path.read_text())).load()
    assert found == {"a": 1}


def test_two_processes_of_one_attempt_do_not_take_the_same_number(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = attempt(environ, 1)
    session.save("rank 0")
    monkeypatch.setattr(directory, "newest", lambda _root: 0)  # what the other rank saw before the first renamed
    session.save("rank 1")
    assert names(environ) == ["ckpt-000001-train-a1", "ckpt-000002-train-a1"]


# ---- disks that refuse ----


def full_disk(_state: Any, path: Path) -> None:
    path.write_bytes(b"half of i")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_full_disk_fails_an_explicit_save_and_leaves_what_was_there(environ: dict[str, str]) -> None:
    attempt(environ, 1).save("good")
    with pytest.raises(OSError, match="No space left"):
        attempt(environ, 1, dump=full_disk).save("lost")
    assert list(root(environ).glob(".new-*")) == []
    assert attempt(environ, 2).load() == "good"


@pytest.mark.parametrize("asked", [False, True])
def test_a_full_disk_does_not_end_the_training(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str], *, asked: bool
) -> None:
    environ["LOWTIDE_CHECKPOINT_INTERVAL_S"] = "0"
    session = attempt(environ, 1, dump=full_disk)
    if asked:
        ask(environ)
    assert session.save_if_asked("lost") is False
    assert not marked(environ)
    assert "the checkpoint could not be written" in capsys.readouterr().err


@pytest.mark.parametrize(("only_folders", "saved"), [(True, True), (False, False)])
def test_a_file_system_that_cannot_sync_folders_will_do_but_files_must_be_synced(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, only_folders: bool, saved: bool
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) or not only_folders:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    environ["LOWTIDE_CHECKPOINT_INTERVAL_S"] = "0"
    attempt(environ, 1).save_if_asked("state")
    assert bool(names(environ)) == saved


def test_a_disk_that_does_not_give_back_what_was_written_is_found_at_once(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = attempt(environ, 1)
    monkeypatch.setattr(directory, "verified", lambda _path: False)
    with pytest.raises(OSError, match="does not read back as it was written"):
        session.save("state")


# ---- fencing (INV-02) ----


def test_an_older_attempt_is_refused_once_a_newer_one_has_opened(environ: dict[str, str]) -> None:
    old = attempt(environ, 1)
    old.save("mine")
    attempt(environ, 2)
    with pytest.raises(checkpoint.StaleAttempt, match=r"train-a1 \(number 1\) may not write: attempt number 2 owns"):
        old.save("late")
    assert names(environ) == ["ckpt-000001-train-a1"]


def test_an_older_attempt_cannot_even_open(environ: dict[str, str]) -> None:
    attempt(environ, 10)
    with pytest.raises(checkpoint.StaleAttempt):
        attempt(environ, 9)


def test_the_same_attempt_may_open_again(environ: dict[str, str]) -> None:
    attempt(environ, 3).save("state")
    assert attempt(environ, 3).load() == "state"


def test_a_checkpoint_of_a_newer_attempt_fences_even_when_its_claim_is_lost(environ: dict[str, str]) -> None:
    attempt(environ, 2).save("newer")
    for claim in root(environ).glob("fence-*"):
        claim.unlink()
    with pytest.raises(checkpoint.StaleAttempt):
        attempt(environ, 1)


def test_an_attempt_overtaken_while_it_wrote_is_refused(environ: dict[str, str]) -> None:
    def slow(state: Any, path: Path) -> None:
        checkpoint.dump_pickle(state, path)
        attempt(environ, 2)

    with pytest.raises(checkpoint.StaleAttempt):
        attempt(environ, 1, dump=slow).save("late")
    assert names(environ) == []


def test_an_attempt_overtaken_before_its_scratch_existed_is_refused(environ: dict[str, str]) -> None:
    def overtaken(state: Any, path: Path) -> None:
        checkpoint.dump_pickle(state, path)
        (root(environ) / "fence-000002").touch()  # the claim; its sweep came too early to find this scratch

    with pytest.raises(checkpoint.StaleAttempt):
        attempt(environ, 1, dump=overtaken).save("late")
    assert names(environ) == []


def test_an_attempt_overtaken_right_after_its_rename_tidies_nothing(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, verified = attempt(environ, 1), directory.verified
    session.save(1)
    session.save(2)

    def overtaken(path: Path) -> bool:
        attempt(environ, 2)
        return verified(path)

    monkeypatch.setattr(directory, "verified", overtaken)
    session.save(3)
    assert len(names(environ)) == 3


def test_an_attempt_overtaken_just_before_the_rename_is_refused(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, publish = attempt(environ, 1), directory.publish

    def overtaken(*args: Any) -> tuple[int, Path]:
        attempt(environ, 2)
        return publish(*args)

    monkeypatch.setattr(directory, "publish", overtaken)
    with pytest.raises(checkpoint.StaleAttempt):
        session.save("late")
    assert names(environ) == []


def test_scratch_of_attempts_that_were_killed_is_swept_away(environ: dict[str, str]) -> None:
    left = root(environ) / ".new-train-a1-99"
    left.mkdir(parents=True)
    (left / "state.pkl").write_bytes(b"half")
    attempt(environ, 2)
    assert not left.exists()


# ---- asking ----


def test_it_goes_on_while_nobody_asks(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    assert session.save_if_asked("state") is False
    assert names(environ) == []


def test_asked_by_the_flag_it_saves_marks_and_says_stop(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    ask(environ)
    assert session.save_if_asked("state") is True
    assert marked(environ)
    assert attempt(environ, 2).load() == "state"


def test_asked_by_the_signal_alone_it_saves_too(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert session.asked
    assert session.save_if_asked("state") is True


def test_once_safe_another_signal_does_nothing_even_to_a_python_winding_down(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    ask(environ)
    session.save_if_asked("state")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_handler_that_others_replaced_is_put_back(environ: dict[str, str]) -> None:
    """As ray.init() does."""
    session = attempt(environ, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
    assert session.save_if_asked("state") is False
    os.kill(os.getpid(), signal.SIGTERM)
    assert session.save_if_asked("state") is True


def test_the_signal_goes_back_to_its_owner_when_the_session_ends(environ: dict[str, str]) -> None:
    signal.signal(signal.SIGTERM, owner := lambda *_: None)
    attempt(environ, 1).close()
    assert signal.getsignal(signal.SIGTERM) is owner


def test_during_a_stop_the_signal_stays_held_after_the_session(environ: dict[str, str]) -> None:
    session = attempt(environ, 1)
    held = signal.getsignal(signal.SIGTERM)
    ask(environ)
    session.close()
    assert signal.getsignal(signal.SIGTERM) is held


@pytest.mark.parametrize(("flag", "mark", "dies"), [(False, False, True), (True, False, False), (True, True, True)])
def test_a_forked_worker_outlives_the_signal_only_until_the_state_is_safe(
    environ: dict[str, str], *, flag: bool, mark: bool, dies: bool
) -> None:
    """Data loaders must not die under a script that is saving, yet a pool must be able to end its workers."""
    attempt(environ, 1)
    control = Path(environ["LOWTIDE_CONTROL_DIR"])
    if flag:
        ask(environ)
    if mark:
        (control / checkpoint.SUSPENDED_MARK).touch()
    worker = os.fork()
    if worker == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(7)
    _, status = os.waitpid(worker, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGTERM if dies else 7)


def test_the_interval_saves_on_the_way(environ: dict[str, str]) -> None:
    now_s = [0.0]
    environ["LOWTIDE_CHECKPOINT_INTERVAL_S"] = "60"
    session = attempt(environ, 1, elapsed=lambda: now_s[0])
    for now_s[0] in (59.0, 60.0, 100.0, 119.0, 120.0):
        assert session.save_if_asked(now_s[0]) is False
    assert names(environ) == ["ckpt-000001-train-a1", "ckpt-000002-train-a1"]
    assert not marked(environ)


def test_without_a_place_to_save_a_stop_never_throws_work_away(environ: dict[str, str]) -> None:
    session = attempt({**environ, "LOWTIDE_CHECKPOINT_DIR": ""}, 1)
    ask(environ)
    assert session.save_if_asked("state") is False
    assert session.load() is None
    assert not marked(environ)


# ---- reporting ----


def test_results_gather_for_the_exit_record_and_go_to_the_log(
    environ: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    session = attempt(environ, 1)
    session.report(accuracy=0.5, loss=2)
    session.report(accuracy=0.75)
    results = json.loads((Path(environ["LOWTIDE_CONTROL_DIR"]) / checkpoint.RESULTS).read_text())
    assert results == {"accuracy": 0.75, "loss": 2.0}
    assert record.parse(capfd.readouterr().out, FENCE).results == results


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "0.9", None, [1.0]])
def test_what_is_no_finite_number_is_refused_with_its_name(environ: dict[str, str], value: Any) -> None:
    session = attempt(environ, 1)
    with pytest.raises(ValueError, match=r"accuracy=.* is no finite number"):
        session.report(loss=1.0, accuracy=value)
    assert not (Path(environ["LOWTIDE_CONTROL_DIR"]) / checkpoint.RESULTS).exists()


def test_a_closed_log_does_not_break_a_save(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_args: Any, **_more: Any) -> None:
        raise BrokenPipeError

    session = attempt(environ, 1)
    monkeypatch.setattr(record, "write", closed)
    session.save("state")
    session.report(accuracy=1.0)
    assert attempt(environ, 2).load() == "state"


# ---- no daemon around ----


def test_outside_lowtide_every_call_is_harmless(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in os.environ if n.startswith("LOWTIDE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with checkpoint.session() as session:
        assert session.load() is None
        assert session.save_if_asked("state") is False
        session.save("state")
        session.report(accuracy=0.9)
        assert (session.asked, session.resumed) == (False, False)
        assert signal.getsignal(signal.SIGTERM) is before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_an_exception_of_the_script_is_not_hidden() -> None:
    def script() -> None:
        with checkpoint.session():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        script()
