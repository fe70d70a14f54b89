"""Merges the labelers' votes by majority and measures how well they agree.

Reads IN_VOTES, the list of all labelers' votes. Writes OUT_LABELS (bird, species, votes for it) and OUT_AGREEMENT.
Where no species has a majority the bird stays without a label and is counted as undecided.

Fleiss (1971), "Measuring nominal scale agreement among many raters"; Cohen (1960), "A coefficient of agreement for
nominal scales". Both are 1 for perfect agreement and 0 for what chance alone would give.
"""

import csv
import itertools
import json
import os
from collections import Counter


def read_votes(path: str) -> dict[str, dict[str, str]]:
    """Labeler → bird → species."""
    with open(path, encoding="utf-8") as file:
        cells = json.load(file)
    votes = {}
    for cell in cells:
        with open(cell["path"], encoding="utf-8", newline="") as file:
            votes[cell["cell"]["rule"]] = {row["bird"]: row["species"] for row in csv.DictReader(file)}
    return votes


def chance_corrected(observed: float, expected: float) -> float:
    """Agreement beyond chance, as a share of what is possible beyond chance."""
    return 1.0 if expected == 1.0 else (observed - expected) / (1 - expected)


def fleiss_kappa(ballots: list[list[str]]) -> float:
    """Agreement of any number of labelers; each ballot holds all votes on one item."""
    raters, counts = len(ballots[0]), [Counter(ballot) for ballot in ballots]
    observed = sum((sum(n * n for n in c.values()) - raters) / (raters * (raters - 1)) for c in counts) / len(ballots)
    totals = Counter(itertools.chain.from_iterable(ballots))
    expected = sum((n / (raters * len(ballots))) ** 2 for n in totals.values())
    return chance_corrected(observed, expected)


def cohen_kappa(first: list[str], second: list[str]) -> float:
    """Agreement of two labelers on the same items, in the same order."""
    observed = sum(a == b for a, b in zip(first, second)) / len(first)
    totals = Counter(first), Counter(second)
    expected = sum(totals[0][label] * totals[1][label] for label in totals[0]) / len(first) ** 2
    return chance_corrected(observed, expected)


def main() -> None:
    """Runs the step."""
    votes = read_votes(os.environ["IN_VOTES"])
    birds = sorted(set.intersection(*(set(vote) for vote in votes.values())))
    ballots = [[vote[bird] for vote in votes.values()] for bird in birds]
    winners = [Counter(ballot).most_common(1)[0] for ballot in ballots]
    decided = [(bird, *winner) for bird, winner in zip(birds, winners) if 2 * winner[1] > len(votes)]

    with open(os.environ["OUT_LABELS"], "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["bird", "species", "votes"])
        writer.writerows(decided)

    pairs = {
        f"cohen_kappa_{a}_{b}": cohen_kappa([votes[a][bird] for bird in birds], [votes[b][bird] for bird in birds])
        for a, b in itertools.combinations(sorted(votes), 2)
    }
    agreement = {
        "birds": len(birds),
        "undecided": len(birds) - len(decided),
        "unanimous_share": sum(count == len(votes) for _, count in winners) / len(birds),
        "fleiss_kappa": fleiss_kappa(ballots),
        **pairs,
    }
    agreement = {name: round(value, 6) for name, value in agreement.items()}
    for path in (os.environ["OUT_AGREEMENT"], os.environ["METRICS"]):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(agreement, file, indent=2)


if __name__ == "__main__":
    main()
