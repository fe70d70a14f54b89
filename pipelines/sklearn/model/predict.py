"""Lets every model name the sex of the test birds.

Reads IN_MODELS, the list of all trained models, and IN_BIRDS. Writes OUT_PREDICTIONS (model, bird, sex).
"""

import csv
import json
import os

import joblib

from features import features, read_birds


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_MODELS"], encoding="utf-8") as file:
        cells = json.load(file)
    birds = read_birds(os.environ["IN_BIRDS"])
    with open(os.environ["OUT_PREDICTIONS"], "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["model", "bird", "sex"])
        for cell in cells:
            answers = joblib.load(cell["path"]).predict(features(birds))
            writer.writerows((cell["key"], bird["bird"], answer) for bird, answer in zip(birds, answers))


if __name__ == "__main__":
    main()
