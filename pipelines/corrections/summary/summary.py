"""Counts the customers for people to read.

Reads IN_FEATURES. Writes OUT_SUMMARY, Markdown.
"""

import csv
import json
import os
from collections import Counter


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_FEATURES"], encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    domains = Counter(row["domain"] for row in rows)
    mean_age = sum(int(row["age_days"]) for row in rows) / len(rows)
    metrics = {
        "customers": len(rows),
        "academic": sum(row["academic"] == "1" for row in rows),
        "on_both_lists": sum(row["sources"] == "2" for row in rows),
        "mean_age_days": round(mean_age, 1),
    }
    lines = ["# Customers", "", *(f"- {name.replace('_', ' ')}: {value}" for name, value in metrics.items())]
    lines += ["", "| domain | customers |", "| --- | ---: |"]
    lines += [f"| {domain} | {count} |" for domain, count in sorted(domains.items(), key=lambda item: (-item[1], item[0]))]
    with open(os.environ["OUT_SUMMARY"], "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
