"""Four small classifiers in plain Python. Each is a pair of functions over a model that is plain JSON data.

`fit(points, labels, options)` makes a model from lists of numbers and their labels; `predict(model, point)` names the label.
Points are standardised by the caller. Everything is deterministic; ties go to the label first in the alphabet.
"""

import math
from collections import Counter


def most_common(labels: list[str]) -> str:
    """The most frequent label."""
    return min(Counter(labels).items(), key=lambda item: (-item[1], item[0]))[0]


def fit_majority(points: list, labels: list, options: dict) -> dict:
    """The baseline: looks at no measurement at all."""
    return {"label": most_common(labels)}


def predict_majority(model: dict, point: list) -> str:
    """Always the same label."""
    return model["label"]


def fit_naive_bayes(points: list, labels: list, options: dict) -> dict:
    """A normal distribution for each label and measurement, taken as independent."""
    model = {}
    for label in sorted(set(labels)):
        columns = list(zip(*(point for point, own in zip(points, labels) if own == label)))
        means = [sum(column) / len(column) for column in columns]
        variances = [sum((x - mean) ** 2 for x in column) / len(column) for column, mean in zip(columns, means)]
        # The floor keeps a constant measurement from dividing by zero.
        model[label] = {"prior": len(columns[0]) / len(points), "means": means, "variances": [v + 1e-9 for v in variances]}
    return model


def predict_naive_bayes(model: dict, point: list) -> str:
    """The label with the largest posterior probability."""

    def log_posterior(label: str) -> float:
        own = model[label]
        fit = sum(math.log(v) + (x - m) ** 2 / v for x, m, v in zip(point, own["means"], own["variances"]))
        return math.log(own["prior"]) - fit / 2

    return max(sorted(model), key=log_posterior)


def fit_nearest(points: list, labels: list, options: dict) -> dict:
    """Keeps the training birds themselves."""
    return {"neighbours": options["neighbours"], "points": points, "labels": labels}


def predict_nearest(model: dict, point: list) -> str:
    """The most frequent label among the nearest training birds."""
    by_distance = sorted((math.dist(point, known), label) for known, label in zip(model["points"], model["labels"]))
    return most_common([label for _, label in by_distance[: model["neighbours"]]])


def softmax(scores: list[float]) -> list[float]:
    """Scores as probabilities."""
    top = max(scores)
    exponentials = [math.exp(score - top) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def dot(weights: list[float], point: list[float]) -> float:
    """Weighted sum of a point's measurements; the last weight is the constant."""
    return sum(w * x for w, x in zip(weights, point)) + weights[-1]


def fit_softmax(points: list, labels: list, options: dict) -> dict:
    """Multinomial logistic regression by full-batch gradient descent from zero weights."""
    names = sorted(set(labels))
    weights = [[0.0] * (len(points[0]) + 1) for _ in names]
    rate = 1.0
    for _ in range(options["epochs"]):
        gradients = [[0.0] * len(row) for row in weights]
        for point, label in zip(points, labels):
            for gradient, name, p in zip(gradients, names, softmax([dot(row, point) for row in weights])):
                error = p - (name == label)
                for i, x in enumerate([*point, 1.0]):
                    gradient[i] += error * x
        weights = [[w - rate * g / len(points) for w, g in zip(row, gradient)] for row, gradient in zip(weights, gradients)]
    return {"labels": names, "weights": weights}


def predict_softmax(model: dict, point: list) -> str:
    """The label with the highest score."""
    scores = {label: dot(weights, point) for label, weights in zip(model["labels"], model["weights"])}
    return max(model["labels"], key=scores.get)


CLASSIFIERS = {
    "majority": (fit_majority, predict_majority),
    "naive_bayes": (fit_naive_bayes, predict_naive_bayes),
    "nearest": (fit_nearest, predict_nearest),
    "softmax": (fit_softmax, predict_softmax),
}
