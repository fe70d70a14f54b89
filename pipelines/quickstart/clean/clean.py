"""Turns the raw field table into tidy measurements and, apart from them, the true species.

Reads IN_RAW. Writes OUT_BIRDS (bird, nest, island, sex and four measurements) and OUT_TRUTH (bird, species).
Birds that were not measured are dropped and counted.
"""

import csv
import hashlib
import json
import os

MEASUREMENTS = {
    "bill_length_mm": "Culmen Length (mm)",
    "bill_depth_mm": "Culmen Depth (mm)",
    "flipper_length_mm": "Flipper Length (mm)",
    "body_mass_g": "Body Mass (g)",
}


def opaque_id(*parts: str) -> str:
    """A short stable name that does not give away what it was made of."""
    return hashlib.blake2b("/".join(parts).encode(), digest_size=5).hexdigest()


def tidy(row: dict) -> tuple[dict, dict]:
    """One raw row as (measurements, truth)."""
    species = row["Species"].split()[0]
    bird = opaque_id(row["studyName"], row["Sample Number"], species)
    # "N29A2" is adult 2 of nest 29. A number that returns in a later season may be the same bird,
    # so the season is left out of the nest's identity.
    nest = opaque_id(species, row["Individual ID"].split("A")[0])
    sex = "unknown" if row["Sex"] == "NA" else row["Sex"].lower()
    measured = {name: row[column] for name, column in MEASUREMENTS.items()}
    return {"bird": bird, "nest": nest, "island": row["Island"], "sex": sex, **measured}, {"bird": bird, "species": species}


def write_csv(path: str, rows: list[dict]) -> None:
    """Writes rows with their keys as header."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_RAW"], encoding="utf-8", newline="") as file:
        raw = list(csv.DictReader(file))
    measured = [row for row in raw if all(row[column] != "NA" for column in MEASUREMENTS.values())]
    birds, truth = zip(*sorted(map(tidy, measured), key=lambda pair: pair[0]["bird"]))
    write_csv(os.environ["OUT_BIRDS"], birds)
    write_csv(os.environ["OUT_TRUTH"], truth)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"rows": len(birds), "dropped": len(raw) - len(birds)}, file)


if __name__ == "__main__":
    main()
