"""Trains one classifier on the labelled training birds.

Reads IN_BIRDS, IN_LABELS, MATRIX_CLASSIFIER, PARAM_NEIGHBOURS and PARAM_EPOCHS. Writes OUT_MODEL: JSON with
everything a prediction needs, scaling included, and the accuracy in cross-validation by which the best model is chosen. The test
birds play no part in that choice.
"""

import csv
import hashlib
import json
import os

from classifiers import CLASSIFIERS

FEATURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
FOLDS = 5


def fold_of(nest: str) -> int:
    """The fold a nest belongs to; mates stay together."""
    return hashlib.blake2b(f"fold:{nest}".encode(), digest_size=1).digest()[0] % FOLDS


def fit_scale(points: list[list[float]]) -> dict:
    """Mean and standard deviation of each measurement."""
    columns = list(zip(*points))
    means = [sum(column) / len(column) for column in columns]
    deviations = [(sum((x - mean) ** 2 for x in column) / len(column)) ** 0.5 for column, mean in zip(columns, means)]
    return {"means": means, "deviations": [deviation or 1.0 for deviation in deviations]}


def scaled(scale: dict, point: list[float]) -> list[float]:
    """The point in standard deviations from the mean."""
    return [(x - m) / d for x, m, d in zip(point, scale["means"], scale["deviations"])]


def fit(classifier: str, points: list, labels: list, options: dict) -> dict:
    """A model with its scaling."""
    scale = fit_scale(points)
    parameters = CLASSIFIERS[classifier][0]([scaled(scale, point) for point in points], labels, options)
    return {"classifier": classifier, "features": FEATURES, "scale": scale, "parameters": parameters}


def predict(model: dict, point: list[float]) -> str:
    """The label of a point as measured."""
    return CLASSIFIERS[model["classifier"]][1](model["parameters"], scaled(model["scale"], point))


def accuracy(model: dict, points: list, labels: list) -> float:
    """Share of right predictions."""
    return sum(predict(model, point) == label for point, label in zip(points, labels)) / len(labels)


def cross_validate(classifier: str, rows: list[tuple], options: dict) -> float:
    """Share of right predictions on birds the model did not see; rows are (nest, point, label)."""
    right = 0
    for fold in range(FOLDS):
        _, points, labels = zip(*(row for row in rows if fold_of(row[0]) != fold))
        model = fit(classifier, points, labels, options)
        right += sum(predict(model, point) == label for nest, point, label in rows if fold_of(nest) == fold)
    return right / len(rows)


def rounded(value):
    """The same data with 10 significant digits: the last bits of an exponential differ between machines."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def read_rows() -> list[tuple]:
    """(nest, point, label) of every training bird that has a label."""
    with open(os.environ["IN_LABELS"], encoding="utf-8", newline="") as file:
        labels = {row["bird"]: row["species"] for row in csv.DictReader(file)}
    with open(os.environ["IN_BIRDS"], encoding="utf-8", newline="") as file:
        birds = [row for row in csv.DictReader(file) if row["bird"] in labels]
    return [(bird["nest"], [float(bird[name]) for name in FEATURES], labels[bird["bird"]]) for bird in birds]


def main() -> None:
    """Runs the step."""
    classifier = os.environ["MATRIX_CLASSIFIER"]
    options = {"neighbours": int(os.environ["PARAM_NEIGHBOURS"]), "epochs": int(os.environ["PARAM_EPOCHS"])}
    rows = read_rows()
    _, points, labels = zip(*rows)
    model = fit(classifier, points, labels, options)
    scores = {
        "validation_accuracy": round(cross_validate(classifier, rows, options), 6),
        "training_accuracy": round(accuracy(model, points, labels), 6),
        "training_rows": len(rows),
    }
    with open(os.environ["OUT_MODEL"], "w", encoding="utf-8") as file:
        json.dump(rounded({**model, "validation_accuracy": scores["validation_accuracy"]}), file)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump(scores, file)


if __name__ == "__main__":
    main()
