"""The real runner as a process of its own, with real programs under it; no Ray."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lowtide.connectors.jobside import record
from tests.nvml_library import FOUND_MW, a_library, limit_mw, needs_gcc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the runner binds processes with Linux's prctl")

FENCE = "0f3c"
RUNNER = [sys.executable, "-m", "lowtide.connectors.jobside.runner"]
PATIENCE_S = 20.0
"""How long a test waits for a process before it fails; far above what is needed on a busy machine."""

TRAIN = """
import os, pathlib, sys, time
from lowtide.connectors.jobside import checkpoint
steps = pathlib.Path(sys.argv[1])
with checkpoint.session() as session:
    state = session.load() or {"epoch": 0}
    with steps.open("a") as log:
        print("resumed" if session.resumed else "fresh", state["epoch"], file=log, flush=True)
        while state["epoch"] < int(sys.argv[2]):
            state["epoch"] += 1
            print("epoch", state["epoch"], file=log, flush=True)
            if session.save_if_asked(state):
                sys.exit(0)
            time.sleep(0.05)
    session.report(accuracy=0.75, epochs=state["epoch"])
"""


def until(condition: Callable[[], Any], what: str) -> Any:
    """Poll a condition of another process; fails with ``what`` when it never holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail(f"waited {PATIENCE_S:.0f} s for {what}")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Ran:
    code: int
    out: str
    report: record.Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = record.parse(self.out, FENCE)

    @property
    def ended(self) -> record.Ended:
        assert self.report.ended is not None, self.out
        return self.report.ended


class Bench:
    """Starts runners in a directory and ends by id what a failed test leaves."""

    def __init__(self, path: Path) -> None:
        self.path, self._open = path, list[subprocess.Popen[str]]()

    def script(self, text: str, name: str = "script.py") -> str:
        found = self.path / name
        found.write_text(text)
        return str(found)

    def environ(self, argv: list[str], number: int = 1, **more: str) -> dict[str, str]:
        ours = {
            "LOWTIDE_ARGV": json.dumps(argv),
            "LOWTIDE_JOB_ID": "train",
            "LOWTIDE_ATTEMPT_ID": f"train-a{number}",
            "LOWTIDE_FENCE": FENCE,
            "LOWTIDE_FENCE_NUMBER": str(number),
            "LOWTIDE_CHECKPOINT_DIR": str(self.path / "checkpoints"),
            "LOWTIDE_CHECKPOINT_INTERVAL_S": "3600",
            "LOWTIDE_GRACE_S": "10",
            "LOWTIDE_SAMPLE_S": "0.2",
            "CUDA_VISIBLE_DEVICES": "",
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LOWTIDE_")}
        return {**kept, **ours, **more}

    def start(self, *argv: str, number: int = 1, **more: str) -> subprocess.Popen[str]:
        environ = self.environ(list(argv), number, **more)
        process = subprocess.Popen(
            RUNNER, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.path
        )
        self._open.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Ran:
        out, _ = process.communicate(timeout=PATIENCE_S)
        return Ran(process.returncode, out)

    def run(self, *argv: str, number: int = 1, **more: str) -> Ran:
        return self.finish(self.start(*argv, number=number, **more))

    def close(self) -> None:
        for process in self._open:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE_S)
            if process.stdout:
                process.stdout.close()
        for entry in Path("/proc").glob("[0-9]*"):  # what should have ended and has not: the test has failed by now
            with contextlib.suppress(OSError):
                if (entry / "cwd").resolve(strict=True) == self.path.resolve():
                    os.kill(int(entry.name), signal.SIGKILL)

    def pid_in(self, name: str) -> int:
        """The process id that a script wrote to a file."""
        path = self.path / name
        return int(until(lambda: path.exists() and path.read_text().strip(), f"{name} to hold a process id"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# ---- ends of every kind ----


def test_a_program_that_succeeds_leaves_a_complete_record_and_its_output_untouched(bench: Bench) -> None:
    ran = bench.run(sys.executable, "-c", "import sys; print('to out'); print('to err', file=sys.stderr)")
    assert ran.code == 0
    assert sorted(record.strip(ran.out).splitlines()) == ["to err", "to out"]
    assert ran.report.started is not None
    assert ran.report.started.python == sys.version.split()[0]
    assert (ran.ended.exit_code, ran.ended.signal) == (0, None)
    assert not ran.ended.asked_to_stop
    assert not ran.ended.suspended
    assert ran.ended.start_wall_s <= ran.ended.end_wall_s <= time.time()


def test_an_exit_code_passes_through(bench: Bench) -> None:
    ran = bench.run(sys.executable, "-c", "raise SystemExit(3)")
    assert ran.code == 3
    assert (ran.ended.exit_code, ran.ended.signal) == (3, None)


def test_a_program_killed_by_a_signal_is_told_apart_from_one_that_exits(bench: Bench) -> None:
    ran = bench.run("/bin/sh", "-c", "kill -9 $$")
    assert ran.code == 128 + signal.SIGKILL
    assert (ran.ended.exit_code, ran.ended.signal) == (None, signal.SIGKILL)


def test_a_program_that_ends_at_once_never_loses_its_record(bench: Bench) -> None:
    started = [bench.start("/bin/true") for _ in range(8)]
    assert [bench.finish(process).ended.exit_code for process in started] == [0] * 8


def test_a_program_that_does_not_exist_is_said_clearly(bench: Bench) -> None:
    ran = bench.run("no-such-program", "x")
    assert ran.code == 127
    assert "lowtide: cannot run 'no-such-program': No such file or directory" in ran.out
    assert ran.ended.exit_code == 127


def test_a_program_that_may_not_be_executed_is_said_clearly(bench: Bench) -> None:
    ran = bench.run(bench.script("print(1)"))
    assert ran.code == 126
    assert "Permission denied" in ran.out


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LOWTIDE_ARGV", "python train.py", "expected a JSON list of strings"),
        ("LOWTIDE_ARGV", "[]", "expected a JSON list of strings"),
        ("LOWTIDE_ARGV", '["a\\u0000b"]', "expected a JSON list of strings"),
        ("LOWTIDE_GRACE_S", "soon", "LOWTIDE_GRACE_S is 'soon'; expected seconds"),
        ("LOWTIDE_GRACE_S", "nan", "LOWTIDE_GRACE_S is 'nan'; expected seconds"),
        ("LOWTIDE_SAMPLE_S", "-1", "LOWTIDE_SAMPLE_S is '-1'; expected seconds"),
        ("LOWTIDE_FENCE", "", "LOWTIDE_FENCE is missing"),
    ],
)
def test_a_malformed_order_is_refused_in_one_sentence(bench: Bench, name: str, value: str, told: str) -> None:
    ran = bench.finish(bench.start("/bin/true", number=1, **{name: value}))
    assert ran.code == 2
    assert told in ran.out
    assert "Traceback" not in ran.out


def test_arguments_reach_the_program_as_they_are(bench: Bench) -> None:
    odd = ["two words", "$HOME", "a'b\"c", "; exit 9", "é\n"]
    ran = bench.run(sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *odd)
    assert json.loads(record.strip(ran.out)) == odd


def test_a_forged_report_with_another_fence_is_ignored_and_removed(bench: Bench) -> None:
    forged = f'{record.PREFIX}guess:: {{"kind":"result","results":{{"accuracy":1.0}}}}'
    ran = bench.run(sys.executable, "-c", f"print({forged!r})")
    assert ran.report.results == {}
    assert "guess" not in record.strip(ran.out)


# ---- energy ----


def test_energy_is_sampled_on_the_way_and_repeated_with_the_exit_record(bench: Bench) -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.6: pass"
    ran = bench.run(sys.executable, "-c", burn)
    joules = [sample.energy_j["cpu"] for sample in ran.report.samples]
    assert len(joules) >= 3
    assert joules == sorted(joules)
    assert ran.ended.energy_j == ran.report.samples[-1].energy_j
    tail = ran.out[ran.out.rindex('"kind":"samples"') - 100 :]
    assert record.parse(tail, FENCE).samples == ran.report.samples


def test_cpu_time_of_children_that_have_ended_is_not_lost(bench: Bench) -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.4: pass"
    parent = f"import subprocess, sys\nfor _ in range(2): subprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    ran = bench.run(sys.executable, "-c", parent)
    if ran.ended.sources["cpu"] != ("cpu_time", "modelled"):
        pytest.skip("this machine has readable RAPL counters; the figure is not the model's")
    assert ran.ended.energy_j["cpu"] >= 0.8 * 6.5


def test_cpu_time_of_a_process_whose_parent_has_gone_is_counted(bench: Bench) -> None:
    burn = "import os, pathlib, time\nif os.fork(): os._exit(0)\nt = time.process_time()\n"
    burn += "while time.process_time() - t < 0.8: pass\npathlib.Path('burnt').touch(); time.sleep(600)"
    wait = "import pathlib, subprocess, sys, time\nsubprocess.run([sys.executable, '-c', sys.argv[1]], check=True)\n"
    wait += "while not pathlib.Path('burnt').exists(): time.sleep(0.02)\ntime.sleep(0.5)"
    ran = bench.run(sys.executable, "-c", wait, burn)
    if ran.ended.sources["cpu"] != ("cpu_time", "modelled"):
        pytest.skip("this machine has readable RAPL counters; the figure is not the model's")
    assert ran.ended.energy_j["cpu"] >= 0.8 * 6.5


# ---- suspending ----


def test_a_suspended_job_continues_from_its_checkpoint_in_the_next_attempt(bench: Bench) -> None:
    script, log = bench.script(TRAIN), bench.path / "steps"
    first = bench.start(sys.executable, script, str(log), "10000")
    until(lambda: len(lines(log)) > 5, "five epochs")
    first.send_signal(signal.SIGTERM)
    stopped = bench.finish(first)
    assert stopped.code == 0
    assert stopped.ended.suspended
    assert stopped.ended.asked_to_stop
    assert stopped.ended.checkpoint_seq == 1
    assert stopped.report.checkpoints[0].seq == 1
    reached = int(lines(log)[-1].split()[1])

    second = bench.run(sys.executable, script, str(log), str(reached + 3), number=2)
    assert (second.code, second.ended.suspended) == (0, False)
    assert lines(log)[reached + 1 :] == [f"resumed {reached}", *(f"epoch {reached + n}" for n in (1, 2, 3))]
    assert second.ended.results == {"accuracy": 0.75, "epochs": reached + 3}
    assert second.report.results == second.ended.results


def test_signals_from_all_sides_do_not_disturb_a_suspension(bench: Bench) -> None:
    script, log = bench.script(TRAIN), bench.path / "steps"
    process = bench.start(sys.executable, script, str(log), "10000")
    until(lambda: len(lines(log)) > 2, "two epochs")
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    for pid in (process.pid, child, process.pid, child):  # the cluster signals every descendant itself
        os.kill(pid, signal.SIGTERM)
    stopped = bench.finish(process)
    assert stopped.ended.suspended
    assert stopped.ended.checkpoint_seq == 1


def test_a_shell_around_the_script_does_not_cut_its_saving_short(bench: Bench) -> None:
    slow = TRAIN.replace("checkpoint.session()", "checkpoint.session(dump=slow, load=checkpoint.load_pickle)").replace(
        "steps =", "def slow(state, path):\n    time.sleep(1.0)\n    checkpoint.dump_pickle(state, path)\nsteps ="
    )
    script, log = bench.script(slow), bench.path / "steps"
    process = bench.start("/bin/sh", "-c", f"{sys.executable} {script} {log} 10000; echo done")
    until(lambda: len(lines(log)) > 2, "two epochs")
    process.send_signal(signal.SIGTERM)
    stopped = bench.finish(process)
    assert stopped.ended.suspended
    assert stopped.ended.checkpoint_seq == 1


def test_a_program_that_exits_with_0_when_asked_to_stop_claims_no_end_of_its_work(bench: Bench) -> None:
    text = "import signal, sys, pathlib; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
    script = bench.script(f"{text}\npathlib.Path('ready').touch()\nwhile True: signal.pause()")
    process = bench.start(sys.executable, script)
    until((bench.path / "ready").exists, "the script")
    process.send_signal(signal.SIGTERM)
    stopped = bench.finish(process)
    assert (stopped.code, stopped.ended.exit_code) == (0, 0)
    assert stopped.ended.asked_to_stop
    assert (stopped.ended.suspended, stopped.ended.finished) == (False, False)


def test_a_session_that_runs_to_its_end_during_the_stop_says_so(bench: Bench) -> None:
    """Its disk refuses the checkpoint, so it goes on to the end."""
    full = "def full(state, path): raise OSError('full')\nsteps ="
    script = TRAIN.replace("checkpoint.session()", "checkpoint.session(dump=full)").replace("steps =", full)
    log = bench.path / "steps"
    process = bench.start(sys.executable, bench.script(script), str(log), "60")
    until(lambda: len(lines(log)) > 2, "two epochs")
    process.send_signal(signal.SIGTERM)
    stopped = bench.finish(process)
    assert (stopped.ended.exit_code, stopped.ended.asked_to_stop) == (0, True)
    assert (stopped.ended.finished, stopped.ended.suspended) == (True, False)
    assert lines(log)[-1] == "epoch 60"


def test_a_session_that_was_left_because_of_the_stop_claims_no_end_of_its_work(bench: Bench) -> None:
    text = "import pathlib, time\nfrom lowtide.connectors.jobside import checkpoint\n"
    text += "with checkpoint.session() as session:\n    pathlib.Path('ready').touch()\n"
    text += "    while not session.asked: time.sleep(0.01)\n"  # and saves in a way of its own
    process = bench.start(sys.executable, bench.script(text))
    until((bench.path / "ready").exists, "the script")
    process.send_signal(signal.SIGTERM)
    stopped = bench.finish(process)
    assert (stopped.ended.exit_code, stopped.ended.finished) == (0, False)


def test_a_stop_that_comes_after_the_program_ended_did_not_stop_it(bench: Bench) -> None:
    leave = "import os, pathlib, signal, time\n"
    leave += "signal.signal(signal.SIGTERM, lambda *_: pathlib.Path('told').touch())\n"
    leave += "if os.fork() == 0:\n    while True: time.sleep(600)"
    process = bench.start(sys.executable, bench.script(leave))
    until((bench.path / "told").exists, "the runner to end what was left behind")
    process.send_signal(signal.SIGTERM)  # the runner is still ending what was left behind
    ended = bench.finish(process).ended
    assert (ended.exit_code, ended.asked_to_stop) == (0, False)


def test_a_program_that_heeds_the_stop_before_the_runner_has_heard_of_it_was_stopped_all_the_same(bench: Bench) -> None:
    text = "import os, pathlib, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    text += "pathlib.Path('mine.pid').write_text(str(os.getpid()))\nwhile True: signal.pause()"
    process = bench.start(sys.executable, bench.script(text))
    program = bench.pid_in("mine.pid")
    process.send_signal(signal.SIGSTOP)  # as on a busy node: Ray signals both, and the program is the faster one
    os.kill(program, signal.SIGTERM)
    until(lambda: not alive(program), "the program to end")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    ended = bench.finish(process).ended
    assert (ended.exit_code, ended.asked_to_stop) == (0, True)


def test_a_script_that_knows_nothing_of_lowtide_dies_of_the_signal(bench: Bench) -> None:
    script = bench.script("import pathlib, time; pathlib.Path('ready').touch(); time.sleep(600)")
    process = bench.start(sys.executable, script)
    until((bench.path / "ready").exists, "the script")
    process.send_signal(signal.SIGTERM)
    stopped = bench.finish(process)
    assert stopped.code == 128 + signal.SIGTERM
    assert (stopped.ended.exit_code, stopped.ended.signal) == (None, signal.SIGTERM)
    assert not stopped.ended.suspended


def test_a_script_that_ignores_the_signal_is_killed_within_the_grace(bench: Bench) -> None:
    text = "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path('ready').touch()"
    process = bench.start(sys.executable, bench.script(f"{text}\ntime.sleep(600)"), LOWTIDE_GRACE_S="3.5")
    until((bench.path / "ready").exists, "the script")
    asked_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    stopped = bench.finish(process)
    assert 1.5 <= time.monotonic() - asked_s < PATIENCE_S / 2
    assert stopped.ended.signal == signal.SIGKILL
    assert stopped.ended.asked_to_stop
    assert not stopped.ended.suspended


def test_a_frozen_program_is_woken_so_that_it_can_save(bench: Bench) -> None:
    script, log = bench.script(TRAIN), bench.path / "steps"
    process = bench.start(sys.executable, script, str(log), "10000")
    until(lambda: len(lines(log)) > 2, "two epochs")
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    assert bench.finish(process).ended.suspended


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(bench: Bench) -> None:
    script, log = bench.script(TRAIN), bench.path / "steps"
    bench.run(sys.executable, script, str(log), "3", LOWTIDE_CHECKPOINT_INTERVAL_S="0")
    newest = bench.path / "checkpoints" / "ckpt-000003-train-a1" / "state.pkl"
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    ran = bench.run(sys.executable, script, str(log), "4", number=2)
    assert "lowtide: checkpoint ckpt-000003-train-a1 is damaged" in ran.out
    assert lines(log)[-3:] == ["resumed 2", "epoch 3", "epoch 4"]


def test_an_older_attempt_that_wakes_up_late_cannot_write(bench: Bench) -> None:
    """INV-02: frozen, given up and replaced; then thawed."""
    script, log = bench.script(TRAIN), bench.path / "steps"
    old = bench.start(sys.executable, script, str(log), "10000", LOWTIDE_CHECKPOINT_INTERVAL_S="0")
    until(lambda: len(lines(log)) > 3, "three epochs")
    child = int(Path(f"/proc/{old.pid}/task/{old.pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGSTOP)
    new = bench.run(sys.executable, script, str(bench.path / "new"), "10", number=2, LOWTIDE_CHECKPOINT_INTERVAL_S="0")
    assert new.code == 0
    kept = sorted(p.name for p in (bench.path / "checkpoints").glob("ckpt-*"))
    os.kill(child, signal.SIGCONT)
    stale = bench.finish(old)
    assert stale.code == 1
    assert "StaleAttempt: attempt train-a1 (number 1) may not write: attempt number 2 owns" in stale.out
    assert sorted(p.name for p in (bench.path / "checkpoints").glob("ckpt-*")) == kept


# ---- nothing outlives its supervisor ----

SUPERVISOR = """
import os, subprocess, sys, pathlib
runner = subprocess.Popen(sys.argv[1:])
pathlib.Path("runner.pid").write_text(str(runner.pid))
runner.wait()
"""
STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    pathlib.Path("grandchild.pid").write_text(str(os.getpid()))
else:
    pathlib.Path("child.pid").write_text(str(os.getpid()))
time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["supervisor", "runner"])
def test_whoever_above_is_killed_the_whole_job_dies_within_seconds(bench: Bench, victim: str) -> None:
    environ = bench.environ([sys.executable, bench.script(STUBBORN)], LOWTIDE_GRACE_S="600")
    supervisor = subprocess.Popen(
        [sys.executable, bench.script(SUPERVISOR, "supervisor.py"), *RUNNER], env=environ, cwd=bench.path
    )
    runner, child, grandchild = (bench.pid_in(f"{name}.pid") for name in ("runner", "child", "grandchild"))
    killed_s = time.monotonic()
    os.kill(supervisor.pid if victim == "supervisor" else runner, signal.SIGKILL)
    until(lambda: not any(map(alive, (runner, child, grandchild))), "the job to be gone")
    assert time.monotonic() - killed_s < 8.0
    supervisor.wait(PATIENCE_S)


def test_what_a_finished_program_leaves_behind_is_ended(bench: Bench) -> None:
    daemonize = "import os, pathlib, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    left = bench.script(daemonize + "pathlib.Path('left.pid').write_text(str(os.getpid())); time.sleep(600)", "left.py")
    wait = "import pathlib, subprocess, sys, time\nsubprocess.run([sys.executable, sys.argv[1]], check=True)\n"
    ran = bench.run(sys.executable, bench.script(wait + "while not pathlib.Path('left.pid').exists(): pass"), left)
    assert ran.ended.exit_code == 0
    assert not alive(bench.pid_in("left.pid"))


def test_nothing_of_the_runner_stays_on_disk(bench: Bench, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    bench.run("/bin/true", TMPDIR=str(scratch))
    assert list(scratch.iterdir()) == []


# ---- without a daemon, and shipped ----


def test_without_a_daemon_the_script_runs_as_if_lowtide_were_not_there(bench: Bench) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LOWTIDE_")}
    ran = subprocess.run(
        [sys.executable, bench.script(TRAIN), "steps", "3"], env=kept, cwd=bench.path, capture_output=True, check=True
    )
    assert (ran.stdout, ran.stderr) == (b"", b"")
    assert lines(bench.path / "steps") == ["fresh 0", "epoch 1", "epoch 2", "epoch 3"]
    assert not (bench.path / "checkpoints").exists()


def test_the_folder_alone_is_enough_on_a_bare_python(bench: Bench) -> None:
    shipped = bench.path / "shipped" / "lowtide" / "connectors" / "jobside"
    shipped.mkdir(parents=True)
    for source in Path(record.__file__).parent.glob("*.py"):
        (shipped / source.name).write_bytes(source.read_bytes())
    environ = bench.environ(["/bin/true"], PYTHONPATH=str(bench.path / "shipped"))
    bare = [sys.executable, "-S", "-m", "lowtide.connectors.jobside.runner"]
    ran = subprocess.run(bare, env=environ, cwd=bench.path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert Ran(0, ran.stdout).ended.exit_code == 0


# ---- power ----

HARD = "[[0, 0.6]]"


@needs_gcc
def test_inv19_a_job_runs_under_its_limit_and_what_was_found_is_put_back(bench: Bench) -> None:
    gpu = a_library(bench.path)
    ran = bench.run("sh", "-c", f"sleep 0.5; cat {gpu['FAKE_NVML_LIMIT']}", LOWTIDE_POWER_PLAN=HARD, **gpu)
    assert str(round(0.6 * FOUND_MW)) in ran.out
    assert (limit_mw(gpu), ran.ended.power_refused) == (FOUND_MW, "")


@needs_gcc
def test_inv19_the_guard_puts_back_what_was_found_when_the_runner_is_killed(bench: Bench) -> None:
    gpu = a_library(bench.path)
    process = bench.start("sleep", "60", LOWTIDE_POWER_PLAN=HARD, **gpu)
    until(lambda: limit_mw(gpu) == round(0.6 * FOUND_MW), "the limit to be set")
    process.kill()
    until(lambda: limit_mw(gpu) == FOUND_MW, "the guard to put it back")


@needs_gcc
def test_a_job_whose_power_cannot_be_limited_runs_at_full_power_and_says_why(bench: Bench) -> None:
    gpu = a_library(bench.path)
    ran = bench.run("sleep", "0.3", LOWTIDE_POWER_PLAN=HARD, FAKE_NVML_REFUSES="1", **gpu)
    why = "nvmlDeviceSetPowerManagementLimit failed with NVML error 4"
    assert (ran.code, ran.ended.power_refused, ran.report.power_refused) == (0, why, why)
    assert limit_mw(gpu) == FOUND_MW


def test_a_malformed_power_plan_is_refused_before_anything_runs(bench: Bench) -> None:
    ran = bench.run("true", LOWTIDE_POWER_PLAN="[[1, 7]]")
    assert ran.code == 2
    assert "LOWTIDE_POWER_PLAN is" in ran.out
