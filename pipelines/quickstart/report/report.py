"""Writes the summary for people, as Markdown.

Reads IN_SCORES, IN_AGREEMENT, IN_QUALITY, IN_MODELS and PARAM_MIN_ACCURACY. Writes OUT_REPORT.
"""

import json
import os


def read_json(path: str):
    """A JSON file's content."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def percent(share: float) -> str:
    """A share as percent, one decimal."""
    return f"{100 * share:.1f} %"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def labels_section(agreement: dict, quality: dict) -> str:
    """How good the training labels are."""
    pairs = {
        name.removeprefix("cohen_kappa_").replace("_", " and "): kappa
        for name, kappa in agreement.items()
        if name.startswith("cohen_kappa_")
    }
    return "\n\n".join(
        [
            "## Labels",
            f"Three rules labelled {agreement['birds']} training birds: {percent(agreement['unanimous_share'])} unanimous, "
            f"{agreement['undecided']} undecided, Fleiss' kappa {agreement['fleiss_kappa']:.3f}.\n"
            f"Compared with the true species, {percent(quality['label_accuracy'])} of the merged labels are right "
            f"({quality['wrong_labels']} wrong).",
            table(["labelers", "Cohen's kappa"], [[pair, f"{kappa:.3f}"] for pair, kappa in pairs.items()]),
        ]
    )


def models_section(scores: dict, cells: list[dict]) -> str:
    """All models, best first, with the hash under which each can be asked for."""
    hashes = {cell["key"]: cell["hash"] for cell in cells}
    rows = [
        [
            f"`{model['model']}`" + (" **chosen**" if model["model"] == scores["chosen"] else ""),
            percent(model["validation_accuracy"]),
            percent(model["accuracy"]),
            f"`{hashes[model['model']][:15]}`",
        ]
        for model in sorted(scores["models"], key=lambda model: -model["validation_accuracy"])
    ]
    return "\n\n".join(
        [
            "## Models",
            "Chosen by cross-validation on the training birds; the test birds had no say.",
            table(["model", "cross-validation", "test", "version"], rows),
        ]
    )


def slices_section(scores: dict) -> str:
    """The chosen model against the baseline, slice by slice."""
    rows = [
        [
            f"{row['column']}: {row['value']}",
            str(row["n"]),
            percent(row["accuracy"]),
            percent(row["baseline_accuracy"]),
            f"{100 * (row['accuracy'] - row['baseline_accuracy']):+.1f}",
        ]
        for row in scores["slices"]
    ]
    return "\n\n".join(["## Slices", table(["slice", "birds", "chosen model", "baseline", "gain (points)"], rows)])


def main() -> None:
    """Runs the step."""
    scores, cells = read_json(os.environ["IN_SCORES"]), read_json(os.environ["IN_MODELS"])
    accuracy = {model["model"]: model["accuracy"] for model in scores["models"]}
    summary = (
        f"`{scores['chosen']}` names the species of {percent(accuracy[scores['chosen']])} of {scores['test_rows']} test birds "
        f"(baseline {percent(accuracy[scores['baseline']])}, required {percent(float(os.environ['PARAM_MIN_ACCURACY']))})."
    )
    sections = [
        "# Which penguin is it?",
        summary,
        models_section(scores, cells),
        slices_section(scores),
        labels_section(read_json(os.environ["IN_AGREEMENT"]), read_json(os.environ["IN_QUALITY"])),
        "## Where it comes from",
        "`runstone lineage quickstart/report --up` names the data, code and parameters behind this page.",
    ]
    with open(os.environ["OUT_REPORT"], "w", encoding="utf-8") as file:
        file.write("\n\n".join(sections) + "\n")


if __name__ == "__main__":
    main()
