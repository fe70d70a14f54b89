"""Writes utterances.csv: 5,000 made-up spoken commands, so that the numbers of the speech table come out exactly.

Usage: python3 data/generate.py > data/utterances.csv

Each row is one utterance: the recording condition, the word that was said, and what two annotators and the model heard. Who
errs where is decided by hashes, so that every run writes the same bytes.
"""

import csv
import hashlib
import sys

WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
HEARERS = ["annotator_1", "annotator_2", "model"]

# Condition → utterances, then how many of them each hearer gets wrong. Of 3,000 utterances in clear speech the annotators together
# get 300 of 6,000 wrong, which is a human level of 95 %; the model 180 of 3,000, an accuracy of 94 %.
CONDITIONS = {
    "clear": (3000, [140, 160, 180]),
    "car noise": (200, [12, 16, 22]),
    "people noise": (1500, [170, 160, 195]),
    "low bandwidth": (300, [88, 92, 90]),
}


def number(text: str) -> int:
    """A number that looks random but always is the same."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def misheard(word: str, salt: str) -> str:
    """Some other word."""
    others = [other for other in WORDS if other != word]
    return others[number(salt) % len(others)]


def utterances(condition: str) -> list[list[str]]:
    """All rows of a condition, without their numbers."""
    count, mistakes = CONDITIONS[condition]
    words = [WORDS[number(f"word/{condition}/{i}") % len(WORDS)] for i in range(count)]
    heard = []
    for hearer, wrong in zip(HEARERS, mistakes):
        order = sorted(range(count), key=lambda i: number(f"{hearer}/{condition}/{i}"))
        erring = set(order[:wrong])
        heard.append([misheard(w, f"{hearer}/{condition}/{i}/as") if i in erring else w for i, w in enumerate(words)])
    return [[condition, *row] for row in zip(words, *heard)]


def main() -> None:
    """Writes the table to standard output."""
    rows = [(number(f"place/{condition}/{i}"), row) for condition in CONDITIONS for i, row in enumerate(utterances(condition))]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["utterance", "condition", "said", *HEARERS])
    writer.writerows([place, *row] for place, (_, row) in enumerate(sorted(rows), start=1))


if __name__ == "__main__":
    main()
