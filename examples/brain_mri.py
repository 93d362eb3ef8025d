"""Tell tissue classes apart in a noisy brain MRI; the long job that can be suspended and resumed.

Data     example4d.nii.gz: an echo-planar brain scan, 128 x 96 x 24 voxels taken twice. Ships inside the
         nibabel package (MIT licence; Brett et al., doi:10.5281/zenodo.591597).
Task     voxels of the second scan are background, darker or brighter tissue (below or above the median
         of the brain; mostly white matter against grey matter and fluid). A small network sees a 7 x 7
         patch of the first scan with heavy artificial noise and says which. Fresh noise in every epoch.
         Six neighbouring slices are kept for validation, with a free slice on either side. It is one
         subject: the figure says how well noise is undone, not how well other brains would be labelled.
Metric   Dice overlap, mean of the three classes; baseline: the same thresholds on the noisy voxel alone.
Run      python brain_mri.py [--seconds 8 | --epochs 20]      (pip install "lowtide[demo]")
"""

from dataclasses import dataclass
from itertools import pairwise

import nibabel as nib
import numpy as np
from _pacing import Budget, Progress, budget, conclude, shipped
from numpy.typing import NDArray

from lowtide.connectors.jobside import checkpoint

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

SIDE = 7
LAYERS = (SIDE * SIDE, 48, 3)
NOISE = 0.25  # of the full signal; the two tissues are about 0.15 apart
BRAIN_FROM = 0.3
VALIDATION = slice(9, 15)
TRAINING = [*range(8), *range(16, 24)]
BATCH, BATCHES = 256, 900


@dataclass(kw_only=True)
class Run(Progress):
    """All that decides the rest of the training: weights, momentum and the state of the random numbers."""

    rng: np.random.Generator
    weights: list[Array]
    velocity: list[Array]


def fresh_run() -> Run:
    """Weights before the first epoch."""
    rng = np.random.default_rng(2017)
    weights: list[Array] = []
    for inputs, outputs in pairwise(LAYERS):
        scaled = rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs))
        weights += [scaled.astype(np.float32), np.zeros(outputs, np.float32)]
    return Run(rng=rng, weights=weights, velocity=[np.zeros_like(w) for w in weights])


def scans() -> tuple[Array, Labels]:
    """The first scan as signal in 0..1 and the classes of the second, both (slice, x, y)."""
    image = nib.nifti1.Nifti1Image.from_filename(shipped("nibabel", "tests/data/example4d.nii.gz"))
    both = np.moveaxis(np.asarray(image.dataobj, np.float32), 2, 0) / np.float32(600)
    return both[..., 0], tissue(both[..., 1], cut=float(np.median(both[..., 1][both[..., 1] > BRAIN_FROM])))


def tissue(signal: Array, cut: float) -> Labels:
    """0 background, 1 darker, 2 brighter tissue."""
    return (signal > BRAIN_FROM).astype(np.int64) + (signal > max(cut, BRAIN_FROM))


def patches(signal: Array, rng: np.random.Generator) -> Array:
    """Noise added, then the surroundings of each voxel: (slice, x, y, SIDE * SIDE)."""
    noisy = signal + NOISE * rng.standard_normal(signal.shape, np.float32)
    padded = np.pad(noisy, ((0, 0), (SIDE // 2,) * 2, (SIDE // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    return windows.reshape(*signal.shape, SIDE * SIDE)


def forward(weights: list[Array], inputs: Array) -> tuple[Array, Array]:
    """Hidden layer and class probabilities."""
    hidden = np.maximum(inputs @ weights[0] + weights[1], 0)
    raised = np.exp((logits := hidden @ weights[2] + weights[3]) - logits.max(1, keepdims=True))
    return hidden, raised / raised.sum(1, keepdims=True)


def classify(run: Run, inputs: Array) -> Labels:
    """The likeliest class of each patch."""
    best: Labels = forward(run.weights, inputs)[1].argmax(1)
    return best


def descend(run: Run, inputs: Array, labels: Labels, rate: float) -> None:
    """One step of stochastic gradient descent with momentum on the cross-entropy."""
    hidden, error = forward(run.weights, inputs)
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    back = (error @ run.weights[2].T) * (hidden > 0)
    for index, slope in enumerate((inputs.T @ back, back.sum(0), hidden.T @ error, error.sum(0))):
        run.velocity[index] = np.float32(0.9) * run.velocity[index] - np.float32(rate) * slope
        run.weights[index] = run.weights[index] + run.velocity[index]


def epoch(run: Run, signal: Array, labels: Labels) -> None:
    """Fresh noise, then BATCHES batches with the three classes in equal parts."""
    seen = patches(signal[TRAINING], run.rng).reshape(-1, SIDE * SIDE)
    classes = labels[TRAINING].ravel()
    members = [np.flatnonzero(classes == k) for k in range(LAYERS[-1])]
    rate = 0.03 / (1 + 0.1 * run.epoch)
    for _ in range(BATCHES):
        chosen = np.concatenate([run.rng.choice(m, BATCH // len(members)) for m in members])
        descend(run, seen[chosen], classes[chosen], rate)


def dice(found: Labels, truth: Labels) -> float:
    """Mean overlap of the classes, 0 to 1."""
    pairs = [(found == k, truth == k) for k in range(LAYERS[-1])]
    return float(np.mean([2 * (f & t).sum() / (f.sum() + t.sum()) for f, t in pairs]))


def train(session: checkpoint.Session, limit: Budget) -> float | None:
    """Train to the end and return the validation Dice, or None when asked to stop before."""
    signal, labels = scans()
    held_out = patches(signal[VALIDATION], np.random.default_rng(1)).reshape(-1, SIDE * SIDE)
    truth = labels[VALIDATION].ravel()
    cut = float(np.median(signal[signal > BRAIN_FROM]))
    baseline = dice(tissue(held_out[:, SIDE * SIDE // 2], cut), truth)
    run: Run = session.load() or fresh_run()
    if run.epoch:
        print(f"resumed after epoch {run.epoch}", flush=True)
    while limit.allows(run):
        epoch(run, signal, labels)
        limit.book(run)
        print(f"epoch {run.epoch} dice={dice(classify(run, held_out), truth):.4f}", flush=True)
        if session.save_if_asked(run):
            print(f"suspended after epoch {run.epoch}", flush=True)
            return None
    score = dice(classify(run, held_out), truth)
    conclude(session, score, metric="dice", baseline=baseline)
    return score


if __name__ == "__main__":
    with checkpoint.session() as current:
        train(current, budget())
