"""The columns a model sees, in their order, as read from a table of birds."""

import csv

import numpy as np

MEASUREMENTS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def read_birds(path: str) -> list[dict]:
    """Rows of a table."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def features(birds: list[dict]) -> np.ndarray:
    """The four measurements, NaN where missing, and the species."""
    rows = [[*(float(bird[name] or "nan") for name in MEASUREMENTS), bird["species"]] for bird in birds]
    return np.array(rows, dtype=object)
