"""Name the type of blood cells from the expression of 765 genes in each single cell.

Data     PBMC 68k, reduced: 700 peripheral blood cells of one donor, 10 types. 10x Genomics, "Fresh 68k PBMCs
         (Donor A)", CC BY 4.0; Zheng et al., Nat. Commun. 8:14049 (2017). Ships inside the scanpy package
         (BSD-3-Clause), whose file is read and whose code is not used. scanpy is large (about 400 MB
         with all it needs), so this example is optional.
Task     the type of cells that a small network has not seen. The types were assigned by likeness to
         purified populations, so close kinds of T cells overlap. An epoch is one repeat of four-fold
         cross-validation.
Metric   balanced accuracy, mean of all repeats; baseline: 0.1, chance among ten types.
Run      python cell_types.py [--seconds 8 | --epochs 5]      (pip install "lowtide[demo]" scanpy)
"""

import numpy as np
from _pacing import Budget, budget, shipped
from _patients import Array, folds, repeat
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier

from lowtide.connectors.jobside import checkpoint

try:
    import h5py
except ModuleNotFoundError as missing:
    message = "h5py is not installed; it comes with scanpy: pip install scanpy"
    raise SystemExit(message) from missing

PARTS, PASSES = 4, 12


def cells() -> tuple[Array, Array]:
    """Scaled expression (cell, gene) and the number of each cell's type."""
    with h5py.File(shipped("scanpy", "datasets/10x_pbmc68k_reduced.h5ad")) as file:
        return np.asarray(file["X"], np.float64), np.asarray(file["obs"]["bulk_labels"], np.float64)


def once(expression: Array, types: Array, seed: int) -> float:
    """Mean balanced accuracy of the folds of one repeat."""
    scores = []
    for seen, held_out in folds(types, PARTS, np.random.default_rng(seed)):
        network = MLPClassifier((48,), alpha=1.0, batch_size=32, random_state=seed)
        for _ in range(PASSES):
            network.partial_fit(expression[seen], types[seen], classes=np.unique(types))
        scores.append(balanced_accuracy_score(types[held_out], network.predict(expression[held_out])))
    return float(np.mean(scores))


def train(session: checkpoint.Session, limit: Budget) -> float | None:
    """Repeat to the end and return the mean balanced accuracy, or None when asked to stop before."""
    expression, types = cells()
    chance = 1 / len(np.unique(types))
    return repeat(
        session,
        limit,
        lambda seed: once(expression, types, seed),
        metric="balanced_accuracy",
        baseline=chance,
    )


if __name__ == "__main__":
    with checkpoint.session() as current:
        train(current, budget())
