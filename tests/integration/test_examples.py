"""The example scripts: they run alone, beat their baselines, and go on from a checkpoint as if never stopped."""

import importlib
import os
import pickle
import platform
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from lowtide.scheduler.api.jobspec import read_job

EXAMPLES = Path(__file__).parents[2] / "examples"
RESUMABLE = ("brain_mri", "ct_tissue", "er_status", "metastasis_risk", "relapse_clinical")
PLAIN = "breast_cytology"
CLOSING = re.compile(r"^accuracy=([01]\.\d{4}) metric=(\w+) baseline=([01]\.\d{4})$", re.MULTILINE)
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("[a-z]*.py"))
OPTIONAL = {"cell_types": "scanpy"}
if platform.machine() != "x86_64":  # the demo extra leaves scikit-survival out elsewhere
    OPTIONAL |= dict.fromkeys(("er_status", "metastasis_risk", "relapse_clinical"), "sksurv")
SMALLER = {"brain_mri": ("BATCHES", 60), "ct_tissue": ("DRAWINGS", 2), "_patients": ("STEPS", 10)}
"""Constants that make an epoch cheap where only its being the same each time is looked at."""


def run_script(name: str, *options: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run an example as a user would, from somewhere else, with nothing of a daemon in its environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LOWTIDE_")}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *options],
        cwd=cwd,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def figures(output: str) -> tuple[float, str, float]:
    """Accuracy, metric and baseline of the closing line, which stands exactly once and last."""
    found = CLOSING.findall(output)
    assert len(found) == 1, output
    assert output.rstrip().splitlines()[-1].startswith("accuracy=")
    value, metric, baseline = found[0]
    return float(value), metric, float(baseline)


def skip_without_data(name: str) -> None:
    """Skip only where the package with the data is optional on this machine; elsewhere its absence is a failure."""
    package = OPTIONAL.get(name)
    if package and find_spec(package) is None:
        pytest.skip(f"{package} is optional here and not installed")


class FakeSession:
    """A checkpoint session that asks for a stop after a given epoch; states go through pickle as on disk."""

    def __init__(self, *, stop_after: int | None = None, saved: bytes | None = None) -> None:
        self.stop_after, self.saved = stop_after, saved
        self.numbers: dict[str, float] = {}

    def load(self) -> Any:
        return None if self.saved is None else pickle.loads(self.saved)  # noqa: S301 - what this test has just written

    def save_if_asked(self, state: Any) -> bool:
        if state.epoch != self.stop_after:
            return False
        self.saved = pickle.dumps(state)
        return True

    def report(self, **numbers: float) -> None:
        self.numbers.update(numbers)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import an example beside its siblings; afterwards no example is left in ``sys.modules``."""
    monkeypatch.syspath_prepend(EXAMPLES)
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == EXAMPLES:
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_alone_and_beats_its_printed_baseline(name: str, tmp_path: Path) -> None:
    skip_without_data(name)
    done = run_script(name, "--seconds", "0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "epoch 1 " in done.stdout
    value, _, baseline = figures(done.stdout)
    assert baseline < value <= 1
    assert not list(tmp_path.iterdir())


def test_one_script_knows_nothing_of_lowtide() -> None:
    source = (EXAMPLES / f"{PLAIN}.py").read_text().split('"""', 2)[2]
    assert "lowtide" not in source
    assert "_pacing" not in source


@pytest.mark.parametrize("name", RESUMABLE)
def test_a_run_that_was_stopped_twice_ends_like_one_that_was_not(
    name: str, example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_data(name)
    module = example(name)
    budget = example("_pacing").budget
    home = name if name in SMALLER else "_patients"
    monkeypatch.setattr(example(home), *SMALLER[home])
    whole = FakeSession()
    expected = module.train(whole, budget(["--epochs", "4"]))

    first = FakeSession(stop_after=1)
    assert module.train(first, budget(["--epochs", "4"])) is None
    second = FakeSession(stop_after=3, saved=first.saved)
    assert module.train(second, budget(["--epochs", "4"])) is None
    last = FakeSession(saved=second.saved)

    assert module.train(last, budget(["--epochs", "4"])) == expected
    assert first.numbers == second.numbers == {}
    assert last.numbers == whole.numbers == {"accuracy": expected}


def test_more_epochs_change_the_result_so_that_equality_after_a_stop_means_something(example: Any) -> None:
    module, budget = example("brain_mri"), example("_pacing").budget
    two, four = (module.train(FakeSession(), budget(["--epochs", n])) for n in ("2", "4"))
    assert two != four


def test_the_long_job_is_suspended_and_resumed_through_real_checkpoint_files(tmp_path: Path) -> None:
    control, checkpoints = tmp_path / "control", tmp_path / "checkpoints"
    control.mkdir()
    daemon = {"LOWTIDE_CONTROL_DIR": str(control), "LOWTIDE_CHECKPOINT_DIR": str(checkpoints)}
    (control / "suspend").touch()
    first = run_script("brain_mri", "--epochs", "3", cwd=tmp_path, LOWTIDE_ATTEMPT_ID="mri-a1", **daemon)
    assert first.returncode == 0, first.stderr
    assert "suspended after epoch 1" in first.stdout
    assert "accuracy=" not in first.stdout

    (control / "suspend").unlink()
    second = run_script("brain_mri", "--epochs", "3", cwd=tmp_path, LOWTIDE_ATTEMPT_ID="mri-a2", **daemon)
    alone = run_script("brain_mri", "--epochs", "3", cwd=tmp_path)
    assert second.stdout.startswith("resumed after epoch 1\nepoch 2 ")
    assert figures(second.stdout) == figures(alone.stdout)
    assert first.stdout.splitlines()[0] == alone.stdout.splitlines()[0]


def test_time_before_a_suspension_counts_towards_the_budget(example: Any) -> None:
    pacing = example("_pacing")
    now_s = iter([0.0, 3.0, 100.0, 103.0])
    progress = pacing.Progress()
    pacing.Budget(seconds=5, clock=lambda: next(now_s)).book(progress)
    assert (progress.epoch, progress.cpu_s) == (1, 3.0)
    resumed = pacing.Budget(seconds=5, clock=lambda: next(now_s))
    assert resumed.allows(progress)
    resumed.book(progress)
    assert (progress.epoch, progress.cpu_s) == (2, 6.0)
    assert not resumed.allows(progress)


def test_a_number_of_epochs_overrules_the_time(example: Any) -> None:
    pacing = example("_pacing")
    limit = pacing.Budget(seconds=1, epochs=2, clock=lambda: 0.0)
    assert limit.allows(pacing.Progress(epoch=1, cpu_s=1e9))
    assert not limit.allows(pacing.Progress(epoch=2, cpu_s=0.0))


@pytest.mark.parametrize("options", [["--seconds", "nan"], ["--seconds", "0"], ["--epochs", "0"], ["--epochs", "x"]])
def test_a_budget_that_is_none_is_refused(options: list[str], example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example("_pacing").budget(options)
    assert options[0] in capsys.readouterr().err


def test_missing_data_say_which_package_ships_them(example: Any) -> None:
    shipped = example("_pacing").shipped
    with pytest.raises(SystemExit, match="not_there is not installed"):
        shipped("not_there", "a.csv")
    with pytest.raises(SystemExit, match=r"numpy no longer ships a\.csv"):
        shipped("numpy", "a.csv")


def test_concordance_counts_the_pairs_that_are_in_order(example: Any) -> None:
    concordance = example("_patients").concordance
    # Comparable pairs: (1,2) (1,3) (1,4) (2,3) (2,4); patient 3 is censored, 4 has the last event.
    outcome = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 0.0], [4.0, 1.0]])
    assert concordance(np.array([4.0, 3.0, 2.0, 1.0]), outcome) == 1
    assert concordance(np.array([1.0, 2.0, 3.0, 4.0]), outcome) == 0
    assert concordance(np.array([3.0, 4.0, 2.0, 3.0]), outcome) == pytest.approx((0 + 1 + 0.5 + 1 + 1) / 5)


def test_cox_weights_are_where_the_penalised_likelihood_is_flat(example: Any) -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40, 3))
    time = np.ceil(rng.exponential(np.exp(-features[:, 0])) * 5)  # with ties
    outcome = np.column_stack([time, rng.random(40) < 0.7])
    ridge = 4.0

    def loss(weights: Any) -> float:
        risk = features @ weights
        terms = [risk[i] - np.log(np.exp(risk[time >= time[i]]).sum()) for i in range(40) if outcome[i, 1]]
        return float(ridge / 2 * weights @ weights - np.sum(terms))

    found = example("_patients").cox(features, outcome, ridge)
    assert found[0] > 0.3
    for step in np.vstack([np.eye(3), -np.eye(3)]) * 1e-2:
        assert loss(found) < loss(found + step)


def test_folds_hold_every_row_out_once_and_share_the_classes_evenly(example: Any) -> None:
    strata = np.array([0.0] * 30 + [1.0] * 10)
    parts = list(example("_patients").folds(strata, 5, np.random.default_rng(0)))
    assert sorted(np.concatenate([held_out for _, held_out in parts])) == list(range(40))
    for seen, held_out in parts:
        assert not set(seen) & set(held_out)
        assert len(seen) + len(held_out) == 40
        assert strata[held_out].sum() == 2


@pytest.mark.parametrize("path", sorted((EXAMPLES / "jobs").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_job_file_is_accepted_and_names_a_script_that_is_there(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    folder = (path.parent / values["working_dir"]).resolve()  # a job file's folder is where its paths begin
    job = read_job({**values, "working_dir": str(folder)})
    assert job.name == path.stem
    assert job.labels["kind"] in {"imaging", "genomics"}
    assert (folder / job.argv()[1]).is_file()
    assert job.interruptible == (job.argv()[1] != f"{PLAIN}.py")
