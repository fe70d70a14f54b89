"""One labeler: names the species of every bird by a single rule of thumb.

Reads IN_BIRDS and MATRIX_RULE (bill, body or place). Writes OUT_VOTE (bird, species).
"""

import csv
import json
import os


def by_bill(bird: dict) -> str:
    """The proportion of the bill: stout in Adelie, slender in Gentoo."""
    slenderness = float(bird["bill_length_mm"]) / float(bird["bill_depth_mm"])
    if slenderness < 2.35:
        return "Adelie"
    return "Chinstrap" if slenderness < 2.85 else "Gentoo"


def by_body(bird: dict) -> str:
    """Long flippers mean Gentoo; of the small ones, Chinstrap has the long bill."""
    if float(bird["flipper_length_mm"]) > 206:
        return "Gentoo"
    return "Chinstrap" if float(bird["bill_length_mm"]) > 43.5 else "Adelie"


def by_place(bird: dict) -> str:
    """Who breeds on the island: Adelie everywhere, Gentoo on Biscoe, Chinstrap on Dream."""
    if bird["island"] == "Biscoe":
        return "Gentoo" if float(bird["body_mass_g"]) > 4300 else "Adelie"
    if bird["island"] == "Dream":
        return "Chinstrap" if float(bird["bill_length_mm"]) > 44 else "Adelie"
    return "Adelie"


RULES = {"bill": by_bill, "body": by_body, "place": by_place}


def main() -> None:
    """Runs the step."""
    rule = RULES[os.environ["MATRIX_RULE"]]
    with open(os.environ["IN_BIRDS"], encoding="utf-8", newline="") as file:
        birds = list(csv.DictReader(file))
    with open(os.environ["OUT_VOTE"], "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["bird", "species"])
        writer.writerows([bird["bird"], rule(bird)] for bird in birds)
    with open(os.environ["METRICS"], "w", encoding="utf-8") as file:
        json.dump({"labels": len(birds)}, file)


if __name__ == "__main__":
    main()
