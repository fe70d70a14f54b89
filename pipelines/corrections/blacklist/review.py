"""Lists the merged blacklist by reason, for whoever has to defend it.

Reads IN_BLACKLIST. Writes OUT_BLACKLIST_REVIEW, Markdown. Looks at no customer.
"""

import csv
import os
from collections import Counter


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_BLACKLIST"], encoding="utf-8", newline="") as file:
        counts = Counter((row["reasons"], row["listed_by"]) for row in csv.DictReader(file))
    rows = [f"| {reasons} | {listed_by} | {count} |" for (reasons, listed_by), count in sorted(counts.items())]
    lines = ["# Blacklisted addresses", "", "| reason | listed by | addresses |", "| --- | --- | ---: |", *rows]
    with open(os.environ["OUT_BLACKLIST_REVIEW"], "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
