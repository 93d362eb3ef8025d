"""Oestrogen receptor status of breast tumours from the expression of 76 genes.

Data     GSE7390 (TRANSBIG): 198 node-negative tumours on Affymetrix arrays. Desmedt et al., Clin. Cancer
         Res. 13:3207 (2007); public in the Gene Expression Omnibus. The table ships inside the
         scikit-survival package (GPL-3.0-or-later), whose file is read and whose code is not used.
Task     receptor positive or negative, by ridge-penalised logistic regression on the 76 genes of the
         prognostic signature; the genes that define the receptor are not among them. An epoch is one
         repeat of five-fold cross-validation, the penalty chosen on inner folds.
Metric   balanced accuracy, mean of all repeats; baseline: 0.5, chance.
Run      python er_status.py [--seconds 8 | --epochs 5]      (pip install "lowtide[demo]")
"""

import numpy as np
from _pacing import Budget, budget, shipped
from _patients import Array, descend, nested, repeat, table

from lowtide.connectors.jobside import checkpoint


def tumours() -> tuple[Array, Array]:
    """Expression (tumour, gene) and 1 where the receptor was found, in one column."""
    columns = table(shipped("sksurv", "datasets/data/breast_cancer_GSE7390-metastasis.arff"))
    genes = np.column_stack([values for name, values in columns.items() if name.startswith("X")])
    return genes.astype(np.float64), (columns["er"] == b"positive").astype(np.float64)[:, None]


def logistic(features: Array, target: Array, ridge: float) -> Array:
    """Weights of a logistic regression without intercept, both classes weighted alike."""
    positive = target[:, 0]
    share = np.where(positive > 0, 0.5 / positive.sum(), 0.5 / (1 - positive).sum())

    def slope(weights: Array) -> Array:
        chance = 1 / (1 + np.exp(-features @ weights))
        return np.asarray(features.T @ (share * (chance - positive)) + ridge * weights / len(positive))

    return descend(slope, features.shape[1], rate=0.02)


def balanced_accuracy(margin: Array, target: Array) -> float:
    """Mean of the share of positives and the share of negatives that were found."""
    positive = target[:, 0] > 0
    return float(((margin[positive] > 0).mean() + (margin[~positive] <= 0).mean()) / 2)


def train(session: checkpoint.Session, limit: Budget) -> float | None:
    """Repeat to the end and return the mean balanced accuracy, or None when asked to stop before."""
    genes, positive = tumours()

    def once(seed: int) -> float:
        return nested(genes, positive, logistic, balanced_accuracy, seed)

    return repeat(session, limit, once, metric="balanced_accuracy", baseline=0.5)


if __name__ == "__main__":
    with checkpoint.session() as current:
        train(current, budget())
