"""Features of each customer, free of names and addresses.

Reads IN_CUSTOMERS and PARAM_AS_OF. Writes OUT_FEATURES (customer, domain, academic, sources, age_days).
"""

import csv
import hashlib
import json
import os
from datetime import date


def features(row: dict, as_of: date) -> dict:
    """The features of one customer."""
    domain = row["email"].split("@")[1]
    return {
        "customer": hashlib.blake2b(row["email"].encode(), digest_size=6).hexdigest(),
        "domain": domain,
        "academic": int(domain.endswith(".edu")),
        "sources": len(row["sources"].split("+")),
        "age_days": (as_of - date.fromisoformat(row["joined"])).days,
    }


def main() -> None:
    """Runs the step."""
    as_of = date.fromisoformat(os.environ["PARAM_AS_OF"])
    with open(os.environ["IN_CUSTOMERS"], encoding="utf-8", newline="") as file:
        rows = [features(row, as_of) for row in csv.DictReader(file)]
    with open(os.environ["OUT_FEATURES"], "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["customer"]))
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"rows": len(rows), "academic": sum(row["academic"] for row in rows)}, file)


if __name__ == "__main__":
    main()
