"""Compares model and people on every slice: where is the model behind, and how much of the data is it?

Reads IN_HUMAN and IN_MODEL. Writes OUT_GAPS, one row for each condition, in percent and percentage points:

    gap = human level − accuracy        opportunity = gap × share of the data

The opportunity is how much the overall accuracy would rise if the model reached the human level on that slice. Counts are
divided as fractions, so that the results are exact.
"""

import json
import os
from fractions import Fraction


def compare(human: dict, model: dict) -> list[dict]:
    """One row for each condition."""
    total = sum(own["utterances"] for own in model.values())
    rows = []
    for condition, own in model.items():
        accuracy = Fraction(100 * own["right"], own["labels"])
        human_level = Fraction(100 * human[condition]["right"], human[condition]["labels"])
        share = Fraction(own["utterances"], total)
        gap = human_level - accuracy
        numbers = {
            "accuracy": accuracy,
            "human_level": human_level,
            "share": 100 * share,
            "gap": gap,
            "opportunity": gap * share,
        }
        rows.append({"condition": condition, "n": own["utterances"], **{name: float(value) for name, value in numbers.items()}})
    return rows


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_HUMAN"], encoding="utf-8") as human, open(os.environ["IN_MODEL"], encoding="utf-8") as model:
        rows = compare(json.load(human), json.load(model))
    with open(os.environ["OUT_GAPS"], "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=2)

    metrics = {"largest_gap": max(row["gap"] for row in rows), "opportunity": round(sum(row["opportunity"] for row in rows), 10)}
    slices = []
    for row in rows:
        slug = row["condition"].replace(" ", "_")
        metrics |= {f"gap_{slug}": row["gap"], f"opportunity_{slug}": row["opportunity"]}
        slices += [
            {"slice": {"condition": row["condition"]}, "name": name, "value": row[name], "n": row["n"]}
            for name in ("accuracy", "human_level", "share", "gap", "opportunity")
        ]
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({**metrics, "slices": slices}, file)


if __name__ == "__main__":
    main()
