"""Merges the blacklists into one, each address once, with all reasons and who lists it.

Reads IN_OWN and IN_VENDOR. Writes OUT_BLACKLIST (ip, reasons, listed_by).
"""

import csv
import ipaddress
import json
import os
from collections import defaultdict


def main() -> None:
    """Runs the step."""
    reasons, listed_by = defaultdict(set), defaultdict(set)
    for source in ("own", "vendor"):
        with open(os.environ[f"IN_{source.upper()}"], encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                ip = ipaddress.ip_address(row["ip"].strip())
                reasons[ip].add(row["reason"].strip().lower())
                listed_by[ip].add(source)
    with open(os.environ["OUT_BLACKLIST"], "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ip", "reasons", "listed_by"])
        writer.writerows([ip, "+".join(sorted(reasons[ip])), "+".join(sorted(listed_by[ip]))] for ip in sorted(reasons))
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"addresses": len(reasons), "listed_by_both": sum(len(by) == 2 for by in listed_by.values())}, file)


if __name__ == "__main__":
    main()
