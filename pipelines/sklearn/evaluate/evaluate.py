"""Scores every model on the test birds, the chosen one by slice, and writes the summary for people.

Reads IN_CARDS, IN_PREDICTIONS, IN_BIRDS and PARAM_MIN_ACCURACY. Writes OUT_REPORT. The chosen model is the best in cross-validation on the
training birds; the test birds have no say. Needs no scikit-learn.
"""

import csv
import json
import os
from collections import defaultdict

SLICES = ["species", "island"]


def read_csv(path: str) -> list[dict]:
    """Rows of a table."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_cards(path: str) -> list[dict]:
    """The card of every model, best first, with the key of its cell."""
    with open(path, encoding="utf-8") as file:
        cells = json.load(file)
    cards = []
    for cell in cells:
        with open(cell["path"], encoding="utf-8") as file:
            cards.append({"key": cell["key"], **json.load(file)})
    return sorted(cards, key=lambda card: (-card["validation_accuracy"], card["key"]))


def score(predictions: list[dict], birds: list[dict]) -> dict[str, dict[str, bool]]:
    """Model → bird → whether the answer is right."""
    truth = {bird["bird"]: bird["sex"] for bird in birds}
    hits = defaultdict(dict)
    for row in predictions:
        hits[row["model"]][row["bird"]] = row["sex"] == truth[row["bird"]]
    return hits


def mean(hits) -> float:
    """Share of true values."""
    hits = list(hits)
    return round(sum(hits) / len(hits), 6)


def by_slice(birds: list[dict], chosen: dict, baseline: dict) -> list[dict]:
    """Accuracy of both models for every value of every slice column."""
    members = defaultdict(list)
    for bird in birds:
        for column in SLICES:
            members[column, bird[column]].append(bird["bird"])
    return [
        {
            "slice": {column: value},
            "n": len(own),
            "accuracy": mean(chosen[bird] for bird in own),
            "baseline_accuracy": mean(baseline[bird] for bird in own),
        }
        for (column, value), own in sorted(members.items())
    ]


def percent(share: float) -> str:
    """A share as percent, one decimal."""
    return f"{100 * share:.1f} %"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def render(cards: list[dict], accuracy: dict[str, float], slices: list[dict], threshold: float) -> str:
    """The summary, as Markdown."""
    best = cards[0]
    models = [
        [
            f"`{card['key']}`",
            f"{percent(card['validation_accuracy'])} ± {100 * card['validation_deviation']:.1f}",
            percent(accuracy[card["key"]]),
        ]
        for card in cards
    ]
    rows = [
        [": ".join(*row["slice"].items()), str(row["n"]), percent(row["accuracy"]), percent(row["baseline_accuracy"])]
        for row in slices
    ]
    sections = [
        "# Male or female?",
        f"`{best['key']}` is right for {percent(accuracy[best['key']])} of the test birds (required {percent(threshold)}). "
        f"Trained on {best['rows']} birds with scikit-learn {best['scikit_learn']}.",
        table(["model", "cross-validation", "test"], models),
        table(["slice", "birds", "chosen model", "baseline"], rows),
    ]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Runs the step."""
    cards, birds = read_cards(os.environ["IN_CARDS"]), read_csv(os.environ["IN_BIRDS"])
    hits = score(read_csv(os.environ["IN_PREDICTIONS"]), birds)
    accuracy = {key: mean(own.values()) for key, own in hits.items()}
    chosen, baseline = cards[0]["key"], next(card["key"] for card in cards if card["estimator"] == "dummy")
    slices = by_slice(birds, hits[chosen], hits[baseline])
    with open(os.environ["OUT_REPORT"], "w", encoding="utf-8") as file:
        file.write(render(cards, accuracy, slices, float(os.environ["PARAM_MIN_ACCURACY"])))
    metrics = {
        "accuracy": accuracy[chosen],
        "baseline_accuracy": accuracy[baseline],
        "slices": [
            {"slice": row["slice"], "name": name, "value": row[name], "n": row["n"]}
            for row in slices
            for name in ("accuracy", "baseline_accuracy")
        ],
    }
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
