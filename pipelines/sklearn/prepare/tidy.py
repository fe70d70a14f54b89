"""Turns the raw field table into tidy rows of birds whose sex is known.

Reads IN_RAW. Writes OUT_BIRDS. A missing measurement stays empty: filling it in is the model's affair.
"""

import csv
import json
import os

COLUMNS = {
    "island": "Island",
    "bill_length_mm": "Culmen Length (mm)",
    "bill_depth_mm": "Culmen Depth (mm)",
    "flipper_length_mm": "Flipper Length (mm)",
    "body_mass_g": "Body Mass (g)",
}


def tidy(row: dict) -> dict:
    """One raw row under short names."""
    species = row["Species"].split()[0]
    values = {name: "" if row[column] == "NA" else row[column] for name, column in COLUMNS.items()}
    return {
        "bird": f"{row['studyName']}-{species}-{row['Sample Number']}",
        # The season is left out: a nest number that returns in a later season may be the same birds.
        "nest": f"{species}-{row['Individual ID'].split('A')[0]}",
        "species": species,
        **values,
        "sex": row["Sex"].lower(),
    }


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_RAW"], encoding="utf-8", newline="") as file:
        raw = list(csv.DictReader(file))
    birds = sorted((tidy(row) for row in raw if row["Sex"] != "NA"), key=lambda bird: bird["bird"])
    with open(os.environ["OUT_BIRDS"], "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(birds[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(birds)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"rows": len(birds), "sex_unknown": len(raw) - len(birds)}, file)


if __name__ == "__main__":
    main()
