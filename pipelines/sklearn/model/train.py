"""Trains one estimator, preprocessing included, on the training birds.

Reads IN_BIRDS, MATRIX_ESTIMATOR, MATRIX_CAPACITY, PARAM_SEED and PARAM_FOLDS. Writes OUT_MODEL, one scikit-learn pipeline from raw columns
to the answer, so that training and use share the preprocessing; and OUT_CARD, what there is to know about it.
"""

import json
import os

import joblib
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from features import MEASUREMENTS, features, read_birds


def make_estimator(name: str, capacity: int, seed: int):
    """The estimator of a cell."""
    if name == "dummy":
        return DummyClassifier(strategy="most_frequent")
    if name == "logistic":
        return LogisticRegression(C=capacity, max_iter=1000)
    if name == "forest":
        return RandomForestClassifier(n_estimators=capacity, random_state=seed)
    raise ValueError(f"unknown estimator {name!r}; known are dummy, logistic and forest")


def make_model(name: str, capacity: int, seed: int) -> Pipeline:
    """Preprocessing and estimator as one."""
    numbers = list(range(len(MEASUREMENTS)))
    preprocessing = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), [len(MEASUREMENTS)]),
    )
    return make_pipeline(preprocessing, make_estimator(name, capacity, seed))


def main() -> None:
    """Runs the step."""
    name, capacity = os.environ["MATRIX_ESTIMATOR"], int(os.environ["MATRIX_CAPACITY"])
    birds = read_birds(os.environ["IN_BIRDS"])
    inputs, target = features(birds), [bird["sex"] for bird in birds]
    model = make_model(name, capacity, int(os.environ["PARAM_SEED"]))
    # Mates are kept in one fold: they were measured together.
    folds = GroupKFold(n_splits=int(os.environ["PARAM_FOLDS"]))
    scores = cross_val_score(model, inputs, target, cv=folds, groups=[bird["nest"] for bird in birds])
    model.fit(inputs, target)
    joblib.dump(model, os.environ["OUT_MODEL"])

    metrics = {
        "validation_accuracy": round(float(scores.mean()), 6),
        "validation_deviation": round(float(scores.std()), 6),
        "training_accuracy": round(float(model.score(inputs, target)), 6),
    }
    card = {"estimator": name, "capacity": capacity, "scikit_learn": sklearn.__version__, "rows": len(birds), **metrics}
    with open(os.environ["OUT_CARD"], "w", encoding="utf-8") as file:
        json.dump(card, file, indent=2)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
