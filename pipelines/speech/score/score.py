"""How often the named columns heard what was said, by recording condition.

Usage: score.py COLUMN... Reads IN_UTTERANCES. Writes OUT_ACCURACY: for each condition the number of utterances, of labels and of right
labels. Several columns are pooled: the human level is the accuracy of all annotators' labels together.
"""

import csv
import json
import os
import sys


def count(rows: list[dict], columns: list[str]) -> dict[str, dict[str, int]]:
    """Condition → its counts."""
    counts = {}
    for row in rows:
        own = counts.setdefault(row["condition"], {"utterances": 0, "labels": 0, "right": 0})
        own["utterances"] += 1
        own["labels"] += len(columns)
        own["right"] += sum(row[column] == row["said"] for column in columns)
    return dict(sorted(counts.items()))


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_UTTERANCES"], encoding="utf-8", newline="") as file:
        counts = count(list(csv.DictReader(file)), sys.argv[1:])
    with open(os.environ["OUT_ACCURACY"], "w", encoding="utf-8") as file:
        json.dump(counts, file, indent=2)
    slices = [
        {"slice": {"condition": condition}, "name": "accuracy", "value": own["right"] / own["labels"], "n": own["labels"]}
        for condition, own in counts.items()
    ]
    overall = sum(own["right"] for own in counts.values()) / sum(own["labels"] for own in counts.values())
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"accuracy": overall, "slices": slices}, file)


if __name__ == "__main__":
    main()
