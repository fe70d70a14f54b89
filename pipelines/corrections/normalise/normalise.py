"""Brings a customer list into one form: trimmed, addresses in small letters, ISO dates, sorted.

Reads IN_LIST. Writes OUT_CLEAN (email, name, ip, joined). Two lists that differ only in form give the same bytes.
"""

import csv
import json
import os
from datetime import datetime

DATE_FORMATS = ["%Y-%m-%d", "%d.%m.%Y"]
COLUMNS = ["email", "name", "ip", "joined"]


def iso_date(text: str) -> str:
    """The date as YYYY-MM-DD, from any of the known formats."""
    for date_format in DATE_FORMATS:
        try:
            return datetime.strptime(text.strip(), date_format).date().isoformat()
        except ValueError:
            continue
    raise ValueError(f"no known date format: {text!r}")


def normalised(row: dict) -> dict:
    """One row in the common form."""
    return {
        "email": row["email"].strip().lower(),
        "name": " ".join(row["name"].split()),
        "ip": row["ip"].strip(),
        "joined": iso_date(row["joined"]),
    }


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_LIST"], encoding="utf-8", newline="") as file:
        rows = [normalised(row) for row in csv.DictReader(file)]
    rows.sort(key=lambda row: [row[name] for name in COLUMNS])
    with open(os.environ["OUT_CLEAN"], "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"rows": len(rows)}, file)


if __name__ == "__main__":
    main()
