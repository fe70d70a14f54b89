"""Keeps one row for each customer, who is known by the e-mail address.

Reads IN_CUSTOMERS. Writes OUT_UNIQUE (email, name, joined, sources): the longest spelling of the name, the first day, every source.
"""

import csv
import json
import os
from collections import defaultdict


def merged(email: str, rows: list[dict]) -> dict:
    """All rows of one customer as one."""
    return {
        "email": email,
        "name": max((row["name"] for row in rows), key=lambda name: (len(name), name)),
        "joined": min(row["joined"] for row in rows),
        "sources": "+".join(sorted({row["source"] for row in rows})),
    }


def main() -> None:
    """Runs the step."""
    by_email = defaultdict(list)
    with open(os.environ["IN_CUSTOMERS"], encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_email[row["email"]].append(row)
    unique = [merged(email, rows) for email, rows in sorted(by_email.items())]
    with open(os.environ["OUT_UNIQUE"], "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(unique[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(unique)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"rows": len(unique), "duplicates": sum(map(len, by_email.values())) - len(unique)}, file)


if __name__ == "__main__":
    main()
