"""Writes the table of slices for people, sorted by gap or by opportunity.

Reads IN_GAPS and PARAM_SORT_BY. Writes OUT_REPORT, Markdown.
"""

import json
import os


def ranked(rows: list[dict], name: str) -> list[dict]:
    """Rows by a column, largest first; among equals the larger slice first."""
    return sorted(rows, key=lambda row: (-row[name], -row["n"]))


def names(rows: list[dict]) -> str:
    """Conditions as a list in words."""
    return " and ".join(row["condition"] for row in rows)


def findings(rows: list[dict]) -> list[str]:
    """What the table says, in sentences."""
    widest = ranked(rows, "gap")[0]
    best = ranked(rows, "opportunity")[0]
    most = [row for row in ranked(rows, "opportunity") if row["opportunity"] == best["opportunity"]]
    closed = [row for row in rows if row["gap"] <= 0]
    sentences = [
        f"Largest gap to people: {widest['condition']}, {widest['gap']:g} points.",
        f"Most to win overall: {names(most)}, {best['opportunity']:.2f} points" + (" each." if len(most) > 1 else "."),
    ]
    if closed:
        sentences.append(f"Nothing to win against people: {names(closed)}.")
    return [f"- {sentence}" for sentence in sentences]


def main() -> None:
    """Runs the step."""
    with open(os.environ["IN_GAPS"], encoding="utf-8") as file:
        rows = json.load(file)
    sort_by = os.environ["PARAM_SORT_BY"]
    lines = [
        "# What to work on next",
        "",
        *findings(rows),
        "",
        f"Sorted by {sort_by}:",
        "",
        "| slice | accuracy % | human level % | gap (points) | share % | gap × share (points) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in ranked(rows, sort_by):
        lines.append(
            f"| {row['condition']} | {row['accuracy']:g} | {row['human_level']:g} | {row['gap']:g} "
            f"| {row['share']:g} | {row['opportunity']:.2f} |"
        )
    with open(os.environ["OUT_REPORT"], "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
