"""Risk of relapse after breast cancer from what the clinic knows; the job that must not wait.

Data     GBSG2: 686 node-positive patients of the German Breast Cancer Study Group, 299 with relapse or death.
         Schumacher et al., J. Clin. Oncol. 12:2086 (1994). The table ships inside the scikit-survival
         package (GPL-3.0-or-later), whose file is read and whose code is not used.
Task     rank patients by the hazard of Cox's model on age, menopause, hormone therapy, tumour size and
         grade, nodes and receptors. An epoch is one repeat of five-fold cross-validation, the penalty
         chosen on inner folds.
Metric   Harrell's concordance index, mean of all repeats; baseline: 0.5, chance.
Run      python relapse_clinical.py [--seconds 8 | --epochs 5]      (pip install "lowtide[demo]")
"""

import numpy as np
from _pacing import Budget, budget, shipped
from _patients import Array, concordance, cox, nested, repeat, table

from lowtide.connectors.jobside import checkpoint


def patients() -> tuple[Array, Array]:
    """Clinical findings (patient, finding) and (days, relapse or death seen)."""
    columns = table(shipped("sksurv", "datasets/data/GBSG2.arff"))
    skewed = [np.log1p(columns[name].astype(np.float64)) for name in ("tsize", "pnodes", "progrec", "estrec")]
    grade = np.searchsorted([b"I", b"II", b"III"], columns["tgrade"])
    yes_no = [columns["horTh"] == b"yes", columns["menostat"] == b"Post"]
    findings = np.column_stack([columns["age"], grade, *yes_no, *skewed]).astype(np.float64)
    return findings, np.column_stack([columns["time"], columns["cens"] == b"1"]).astype(np.float64)


def train(session: checkpoint.Session, limit: Budget) -> float | None:
    """Repeat to the end and return the mean concordance, or None when asked to stop before."""
    findings, outcome = patients()

    def once(seed: int) -> float:
        return nested(findings, outcome, cox, concordance, seed)

    return repeat(session, limit, once, metric="concordance_index", baseline=0.5)


if __name__ == "__main__":
    with checkpoint.session() as current:
        train(current, budget())
