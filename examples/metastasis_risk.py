"""Risk of distant metastasis after breast cancer from the expression of 76 genes.

Data     GSE7390 (TRANSBIG): 198 node-negative patients, 51 with distant metastasis. Desmedt et al., Clin.
         Cancer Res. 13:3207 (2007); public in the Gene Expression Omnibus. The table ships inside the
         scikit-survival package (GPL-3.0-or-later), whose file is read and whose code is not used.
Task     rank patients by the hazard of Cox's model with a ridge penalty on the 76 genes. An epoch is one
         repeat of five-fold cross-validation, the penalty chosen on inner folds.
Metric   Harrell's concordance index, mean of all repeats; baseline: 0.5, chance. Few events: about 0.6 is
         what this signature can give here.
Run      python metastasis_risk.py [--seconds 8 | --epochs 5]      (pip install "lowtide[demo]")
"""

import numpy as np
from _pacing import Budget, budget, shipped
from _patients import Array, concordance, cox, nested, repeat, table

from lowtide.connectors.jobside import checkpoint


def patients() -> tuple[Array, Array]:
    """Expression (patient, gene) and (days, metastasis seen)."""
    columns = table(shipped("sksurv", "datasets/data/breast_cancer_GSE7390-metastasis.arff"))
    genes = np.column_stack([values for name, values in columns.items() if name.startswith("X")])
    return genes.astype(np.float64), np.column_stack([columns["t.tdm"], columns["e.tdm"] == b"1"]).astype(np.float64)


def train(session: checkpoint.Session, limit: Budget) -> float | None:
    """Repeat to the end and return the mean concordance, or None when asked to stop before."""
    genes, outcome = patients()

    def once(seed: int) -> float:
        return nested(genes, outcome, cox, concordance, seed)

    return repeat(session, limit, once, metric="concordance_index", baseline=0.5)


if __name__ == "__main__":
    with checkpoint.session() as current:
        train(current, budget())
