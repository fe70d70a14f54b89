"""Lets every model name the species of the test birds.

Reads IN_MODELS, the list of all trained models, and IN_BIRDS. Writes OUT_PREDICTIONS (model, bird, species). The true species is
not an input of this step.
"""

import csv
import json
import os

from train import predict


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_MODELS"], encoding="utf-8") as file:
        cells = json.load(file)
    with open(os.environ["IN_BIRDS"], encoding="utf-8", newline="") as file:
        birds = list(csv.DictReader(file))
    with open(os.environ["OUT_PREDICTIONS"], "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["model", "bird", "species"])
        for cell in cells:
            with open(cell["path"], encoding="utf-8") as file:
                model = json.load(file)
            for bird in birds:
                point = [float(bird[name]) for name in model["features"]]
                writer.writerow([cell["key"], bird["bird"], predict(model, point)])


if __name__ == "__main__":
    main()
