"""Puts the customer lists together and leaves out who comes from a blacklisted address.

Reads IN_WEB, IN_PARTNER and IN_BLACKLIST. Writes OUT_CUSTOMERS (email, name, ip, joined, source).
"""

import csv
import json
import os


def read_csv(path: str) -> list[dict]:
    """Rows of a table."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Runs the step."""
    blacklisted = {row["ip"] for row in read_csv(os.environ["IN_BLACKLIST"])}
    listed = [{**row, "source": source} for source in ("partner", "web") for row in read_csv(os.environ[f"IN_{source.upper()}"])]
    customers = [row for row in listed if row["ip"] not in blacklisted]
    with open(os.environ["OUT_CUSTOMERS"], "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(customers)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"rows": len(customers), "blocked": len(listed) - len(customers)}, file)


if __name__ == "__main__":
    main()
