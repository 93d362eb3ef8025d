"""Benign or malignant, from cell nuclei in digitised fine-needle aspirates: a script that knows nothing of lowtide.

Data     Breast Cancer Wisconsin (Diagnostic): 569 images, 30 measurements of the nuclei in each. Ships inside
         scikit-learn (BSD-3-Clause); data CC BY 4.0, Wolberg, Mangasarian, Street and Street 1993,
         UCI Machine Learning Repository, doi:10.24432/C5DW2B.
Task     classify the 30 % of patients held out by a fixed seed, with a small neural network; an epoch
         trains one network from its own starting weights, and the committee of all networks decides.
Metric   accuracy; baseline: everybody in the larger class.
Run      python breast_cytology.py [--seconds 8 | --epochs 5]      (needs scikit-learn only)

It is an ordinary training script. It saves nothing, so it can be shifted in time but not suspended.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits


def main() -> None:
    """Train the committee for the time or the epochs asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8.0, help="train for about this much CPU time")
    parser.add_argument("--epochs", type=int, help="train exactly this many networks instead")
    options = parser.parse_args()
    threadpool_limits(limits=1)

    features, malignant = load_breast_cancer(return_X_y=True)
    seen, held_out, labels, truth = train_test_split(
        features, malignant, test_size=0.3, stratify=malignant, random_state=2017
    )
    chances = np.zeros(len(truth))
    epoch, accuracy, started_s = 0, 0.0, time.process_time()
    while epoch == 0 or (
        epoch < options.epochs if options.epochs else time.process_time() - started_s < options.seconds
    ):
        network = MLPClassifier((64, 32), solver="adam", alpha=0.1, max_iter=400, random_state=epoch)
        model = make_pipeline(StandardScaler(), network)
        model.fit(seen, labels)
        chances += model.predict_proba(held_out)[:, 1]
        epoch += 1
        accuracy = float(np.mean((chances / epoch > 1 / 2) == truth))
        print(f"epoch {epoch} accuracy={accuracy:.4f}", flush=True)

    baseline = max(truth.mean(), 1 - truth.mean())
    print(f"accuracy={accuracy:.4f} metric=accuracy baseline={baseline:.4f}")


if __name__ == "__main__":
    main()
