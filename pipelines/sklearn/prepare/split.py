"""Splits the birds into training and test data by a hash of their nest.

Reads IN_BIRDS, PARAM_SEED and PARAM_TEST_SHARE. Writes OUT_TRAIN and OUT_TEST. Birds added later never move the others, and mates never
stand on both sides.
"""

import csv
import hashlib
import json
import os


def is_test(nest: str, seed: str, share: float) -> bool:
    """Whether the nest belongs to the test data."""
    digest = hashlib.blake2b(f"{seed}:{nest}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < share


def write_csv(path: str, rows: list[dict]) -> None:
    """Writes rows with their keys as header."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Runs the step."""
    seed, share = os.environ["PARAM_SEED"], float(os.environ["PARAM_TEST_SHARE"])
    with open(os.environ["IN_BIRDS"], encoding="utf-8", newline="") as file:
        birds = list(csv.DictReader(file))
    train = [bird for bird in birds if not is_test(bird["nest"], seed, share)]
    test = [bird for bird in birds if is_test(bird["nest"], seed, share)]
    write_csv(os.environ["OUT_TRAIN"], train)
    write_csv(os.environ["OUT_TEST"], test)
    metrics = {"train_rows": len(train), "test_rows": len(test)}
    for name in ("bird", "nest"):
        metrics[f"shared_{name}s"] = len({row[name] for row in train} & {row[name] for row in test})
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
