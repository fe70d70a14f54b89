"""Compares the merged labels with the true species.

Reads IN_LABELS and IN_TRUTH. Writes OUT_LABEL_QUALITY. Measures the labels only: nothing downstream of the labels reads it but
the report.
"""

import csv
import json
import os
from collections import defaultdict


def read_species(path: str) -> dict[str, str]:
    """Bird → species."""
    with open(path, encoding="utf-8", newline="") as file:
        return {row["bird"]: row["species"] for row in csv.DictReader(file)}


def main() -> None:
    """Runs the step."""
    labels, truth = read_species(os.environ["IN_LABELS"]), read_species(os.environ["IN_TRUTH"])
    right_by_species = defaultdict(list)
    for bird, label in labels.items():
        right_by_species[truth[bird]].append(label == truth[bird])
    right = sum(map(sum, right_by_species.values()))
    quality = {"label_accuracy": round(right / len(labels), 6), "wrong_labels": len(labels) - right}
    slices = [
        {"slice": {"species": species}, "name": "label_accuracy", "value": round(sum(hits) / len(hits), 6), "n": len(hits)}
        for species, hits in sorted(right_by_species.items())
    ]
    with open(os.environ["OUT_LABEL_QUALITY"], "w", encoding="utf-8") as file:
        json.dump(quality, file, indent=2)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({**quality, "slices": slices}, file)


if __name__ == "__main__":
    main()
