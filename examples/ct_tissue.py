"""Find lung, soft tissue and bone in a CT slice as noisy as one taken at a far lower dose.

Data     CT_small.dcm: one chest slice at a vertebra, 128 x 128 pixels of 0.66 mm. Ships inside the pydicom
         package (MIT licence); cut down from CT1_UNC of the NEMA DICOM working group 4 test images;
         pydicom's notes on its test files know of no restriction on their use.
Task     the class of a pixel follows from the Hounsfield units of the slice as it was taken: lung and air
         below -400, bone above 200, soft tissue between. A small network sees a 9 x 9 patch with 300 HU
         of noise added and says which; fresh noise in every epoch. Trained on the right of the picture,
         validated on the left, with a gap between. It is one patient: the figure says how well noise is
         undone, not how well other patients would be labelled.
Metric   balanced accuracy; baseline: the same thresholds on the noisy pixel alone.
Run      python ct_tissue.py [--seconds 8 | --epochs 20]      (pip install "lowtide[demo]")
"""

from dataclasses import dataclass

import numpy as np
import pydicom
from _pacing import Budget, Progress, budget, conclude, shipped
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier

from lowtide.connectors.jobside import checkpoint

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

SIDE = 9
NOISE_HU = 300.0
LUNG_BELOW_HU, BONE_ABOVE_HU = -400.0, 200.0
CLASSES = np.arange(3)
LEFT, RIGHT = slice(0, 60), slice(68, 128)  # 8 columns apart: no pixel is in a patch of both sides
EACH = 1500  # pixels of each class under one drawing of the noise
DRAWINGS = 10  # of the noise in an epoch


@dataclass(kw_only=True)
class Run(Progress):
    """The network (with its optimiser) and the state of the random numbers."""

    rng: np.random.Generator
    network: MLPClassifier


def fresh_run() -> Run:
    """An untrained network."""
    network = MLPClassifier((32,), solver="sgd", learning_rate_init=0.02, batch_size=64, random_state=2017)
    return Run(rng=np.random.default_rng(2017), network=network)


def slice_hu() -> Array:
    """The slice in Hounsfield units, (row, column)."""
    stored = pydicom.dcmread(shipped("pydicom", "data/test_files/CT_small.dcm"))
    return np.asarray(stored.pixel_array * float(stored.RescaleSlope) + float(stored.RescaleIntercept))


def tissue(hounsfield: Array) -> Labels:
    """0 lung and air, 1 soft tissue, 2 bone."""
    return (hounsfield > LUNG_BELOW_HU).astype(np.int64) + (hounsfield > BONE_ABOVE_HU)


def patches(hounsfield: Array, rng: np.random.Generator) -> Array:
    """Noise added, then the surroundings of each pixel in units of 1000 HU: (row, column, SIDE * SIDE)."""
    noisy = hounsfield + rng.normal(0, NOISE_HU, hounsfield.shape)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(noisy, SIDE // 2, mode="reflect"), (SIDE, SIDE))
    return windows.reshape(*hounsfield.shape, SIDE * SIDE) / 1000


def epoch(run: Run, hounsfield: Array, truth: Labels) -> None:
    """DRAWINGS times fresh noise, each time EACH pixels of every class."""
    labels = truth[:, RIGHT].ravel()
    members = [np.flatnonzero(labels == k) for k in CLASSES]
    for _ in range(DRAWINGS):
        seen = patches(hounsfield, run.rng)[:, RIGHT].reshape(-1, SIDE * SIDE)
        chosen = run.rng.permutation(np.concatenate([run.rng.choice(m, EACH) for m in members]))
        run.network.partial_fit(seen[chosen], labels[chosen], classes=CLASSES)


def train(session: checkpoint.Session, limit: Budget) -> float | None:
    """Train to the end and return the balanced accuracy, or None when asked to stop before."""
    hounsfield = slice_hu()
    truth = tissue(hounsfield)
    held_out = patches(hounsfield, np.random.default_rng(1))[:, LEFT].reshape(-1, SIDE * SIDE)
    labels = truth[:, LEFT].ravel()
    baseline = float(balanced_accuracy_score(labels, tissue(held_out[:, SIDE * SIDE // 2] * 1000)))
    run: Run = session.load() or fresh_run()
    if run.epoch:
        print(f"resumed after epoch {run.epoch}", flush=True)
    while limit.allows(run):
        epoch(run, hounsfield, truth)
        limit.book(run)
        print(f"epoch {run.epoch} loss={run.network.loss_:.4f}", flush=True)
        if session.save_if_asked(run):
            print(f"suspended after epoch {run.epoch}", flush=True)
            return None
    score = float(balanced_accuracy_score(labels, run.network.predict(held_out)))
    conclude(session, score, metric="balanced_accuracy", baseline=baseline)
    return score


if __name__ == "__main__":
    with checkpoint.session() as current:
        train(current, budget())
