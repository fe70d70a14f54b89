"""Splits the birds into training and test data by a hash of their nest.

Reads IN_BIRDS, PARAM_SEED and PARAM_TEST_SHARE. Writes OUT_TRAIN and OUT_TEST.
A bird's side depends on nothing but the seed and its nest: birds added later never move the others, and mates, or the
same bird in another season, never stand on both sides. What the two sides share is reported, and must be nothing.
"""

import csv
import hashlib
import json
import os


def is_test(nest: str, seed: str, share: float) -> bool:
    """Whether the nest belongs to the test data."""
    digest = hashlib.blake2b(f"{seed}:{nest}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < share


def shared(train: list[dict], test: list[dict], columns: list[str]) -> int:
    """How many distinct values of the columns occur on both sides."""
    values = [{tuple(row[column] for column in columns) for row in side} for side in (train, test)]
    return len(values[0] & values[1])


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

    measurements = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump(
            {
                "train_rows": len(train),
                "test_rows": len(test),
                "shared_birds": shared(train, test, ["bird"]),
                "shared_nests": shared(train, test, ["nest"]),
                "shared_measurements": shared(train, test, measurements),
            },
            file,
        )


if __name__ == "__main__":
    main()
