"""Tables of patients: reading them, repeated nested cross-validation of linear models, Cox's model of survival."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _pacing import Budget, Progress, conclude
from numpy.typing import NDArray
from scipy.io import arff

from lowtide.connectors.jobside import checkpoint

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Fit = Callable[[Array, Array, float], Array]
Score = Callable[[Array, Array], float]

RIDGES = (1.0, 5.0, 25.0, 125.0)
OUTER, INNER = 5, 4
STEPS = 150


@dataclass(kw_only=True)
class Repeats(Progress):
    """One figure per finished repeat; the repeat's number is its seed, so nothing else must be kept."""

    scores: list[float] = field(default_factory=list)


def repeat(
    session: checkpoint.Session, limit: Budget, once: Callable[[int], float], *, metric: str, baseline: float
) -> float | None:
    """Call ``once`` with seeds 0, 1, ... within the budget; the mean, or None when asked to stop before."""
    run: Repeats = session.load() or Repeats()
    if run.epoch:
        print(f"resumed after epoch {run.epoch}", flush=True)
    while limit.allows(run):
        run.scores.append(once(run.epoch))
        limit.book(run)
        print(f"epoch {run.epoch} {metric}={run.scores[-1]:.4f}", flush=True)
        if session.save_if_asked(run):
            print(f"suspended after epoch {run.epoch}", flush=True)
            return None
    score = float(np.mean(run.scores))
    conclude(session, score, metric=metric, baseline=baseline)
    return score


def table(path: Path) -> dict[str, NDArray[np.generic]]:
    """The columns of an ARFF file by name; nominal ones hold byte strings."""
    rows, _ = arff.loadarff(str(path))
    return {name: rows[name] for name in rows.dtype.names}


def folds(strata: Array, parts: int, rng: np.random.Generator) -> Iterator[tuple[Rows, Rows]]:
    """Training and validation rows of each fold; every stratum is spread evenly."""
    shuffled = rng.permutation(len(strata))
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]
    for part in range(parts):
        held_out = order[part::parts]
        yield np.setdiff1d(order, held_out), held_out


def nested(features: Array, target: Array, fit: Fit, score: Score, seed: int) -> float:
    """Mean score of the outer folds; each chooses its ridge on inner folds and scales by its own training rows.

    The last column of ``target`` (the class, or whether the event was seen) is what folds are stratified by.
    """
    rng = np.random.default_rng(seed)
    scores = []
    for seen, held_out in folds(target[:, -1], OUTER, rng):
        inner = list(folds(target[seen, -1], INNER, rng))
        tried = [
            np.mean([_judge(features[seen], target[seen], rows, fit, score, ridge) for rows in inner])
            for ridge in RIDGES
        ]
        scores.append(_judge(features, target, (seen, held_out), fit, score, RIDGES[int(np.argmax(tried))]))
    return float(np.mean(scores))


def _judge(features: Array, target: Array, rows: tuple[Rows, Rows], fit: Fit, score: Score, ridge: float) -> float:
    seen, held_out = rows
    middle, spread = features[seen].mean(0), features[seen].std(0) + 1e-9
    weights = fit((features[seen] - middle) / spread, target[seen], ridge)
    return score(((features[held_out] - middle) / spread) @ weights, target[held_out])


def descend(slope: Callable[[Array], Array], width: int, rate: float) -> Array:
    """STEPS steps of gradient descent with momentum from zero weights."""
    weights, velocity = np.zeros(width), np.zeros(width)
    for _ in range(STEPS):
        velocity = 0.9 * velocity - rate * slope(weights)
        weights = weights + velocity
    return weights


def cox(features: Array, target: Array, ridge: float) -> Array:
    """Weights of Cox's proportional hazards model; ``target`` is (time, event seen).

    Maximises the partial likelihood with Breslow's handling of ties (Cox 1972, Breslow 1974) less ridge.
    """
    order = np.argsort(-target[:, 0], kind="stable")
    ordered, seen = features[order], target[order, 1]
    times = -target[order, 0]
    last = np.searchsorted(times, times, side="right") - 1  # the risk set ends with the last of equal times

    def slope(weights: Array) -> Array:
        hazard = np.exp(ordered @ weights)
        at_risk = np.cumsum(hazard[:, None] * ordered, axis=0)[last] / np.cumsum(hazard)[last, None]
        return np.asarray((seen @ (at_risk - ordered) + ridge * weights) / len(seen))

    return descend(slope, features.shape[1], rate=0.02)


def concordance(risk: Array, target: Array) -> float:
    """Harrell's C: how often, of two patients, the one with the earlier event had the higher risk."""
    time, event = target[:, 0], target[:, 1] > 0
    comparable = event[:, None] & (time[:, None] < time[None, :])
    above = risk[:, None] - risk[None, :]
    return float(((above > 0) + 0.5 * (above == 0))[comparable].mean())
