"""Scores every model on the test birds, and the chosen one by slice against the baseline.

Reads IN_MODELS, IN_PREDICTIONS, IN_BIRDS, IN_TRUTH and PARAM_MIN_ACCURACY. Writes OUT_SCORES.
The chosen model is the one with the best accuracy in cross-validation on the training birds, so that its test accuracy is an honest
estimate. The baseline is the majority class.
"""

import csv
import json
import os
from collections import defaultdict

SLICES = ["island", "sex"]
SMALLEST_SLICE = 10  # birds; below that one mistake says too much


def read_csv(path: str) -> list[dict]:
    """Rows of a table."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_models(path: str) -> dict[str, dict]:
    """Key of a cell → its trained model."""
    with open(path, encoding="utf-8") as file:
        cells = json.load(file)
    models = {}
    for cell in cells:
        with open(cell["path"], encoding="utf-8") as file:
            models[cell["key"]] = json.load(file)
    return models


def mean(hits: list[bool]) -> float:
    """Share of true values."""
    return round(sum(hits) / len(hits), 6)


def by_slice(birds: list[dict], chosen: dict[str, bool], baseline: dict[str, bool]) -> list[dict]:
    """Accuracy of both models for every value of every slice column."""
    members = defaultdict(list)
    for bird in birds:
        for column in SLICES:
            members[column, bird[column]].append(bird["bird"])
    return [
        {
            "column": column,
            "value": value,
            "n": len(own),
            "accuracy": mean([chosen[bird] for bird in own]),
            "baseline_accuracy": mean([baseline[bird] for bird in own]),
        }
        for (column, value), own in sorted(members.items())
    ]


def main() -> None:
    """Runs the step."""
    models, birds = read_models(os.environ["IN_MODELS"]), read_csv(os.environ["IN_BIRDS"])
    truth = {row["bird"]: row["species"] for row in read_csv(os.environ["IN_TRUTH"])}
    hits = defaultdict(dict)
    for row in read_csv(os.environ["IN_PREDICTIONS"]):
        hits[row["model"]][row["bird"]] = row["species"] == truth[row["bird"]]

    chosen = max(sorted(models), key=lambda key: models[key]["validation_accuracy"])
    baseline = next(key for key, model in models.items() if model["classifier"] == "majority")
    slices = by_slice(birds, hits[chosen], hits[baseline])
    scores = {
        "chosen": chosen,
        "baseline": baseline,
        "test_rows": len(birds),
        "min_accuracy": float(os.environ["PARAM_MIN_ACCURACY"]),
        "models": [
            {
                "model": key,
                "validation_accuracy": model["validation_accuracy"],
                "accuracy": mean(list(hits[key].values())),
            }
            for key, model in sorted(models.items())
        ],
        "slices": slices,
    }
    with open(os.environ["OUT_SCORES"], "w", encoding="utf-8") as file:
        json.dump(scores, file, indent=2)

    accuracy, reference = mean(list(hits[chosen].values())), mean(list(hits[baseline].values()))
    metrics = {
        "accuracy": accuracy,
        "baseline_accuracy": reference,
        "gain": round(accuracy - reference, 6),
        "worst_slice_accuracy": min(row["accuracy"] for row in slices if row["n"] >= SMALLEST_SLICE),
        "slices": [
            {"slice": {row["column"]: row["value"]}, "name": name, "value": row[name], "n": row["n"]}
            for row in slices
            for name in ("accuracy", "baseline_accuracy")
        ],
    }
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
