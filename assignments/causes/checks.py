"""What the answers to *Predict it before you build it* are judged by."""

import math
import random

from scipy import integrate

from grading.assignment import Question
from grading.judge import near

TITLE = "Predict it before you build it"


def inputs(code):
    """A student's own numbers; the notebook draws them in the same way."""
    draw = random.Random(code)
    return {
        "a": draw.choice([1.2, 1.4, 1.6, 1.8]),
        "b": draw.choice([0.4, 0.5, 0.6, 0.7]),
        "gain": draw.choice([0.9, 1.0, 1.1]),
        "depth": draw.randint(14, 24),
    }


def phi(z, at):
    return at["a"] * math.tanh(at["b"] * z)


def slope_at(z, at):
    return at["a"] * at["b"] / math.cosh(at["b"] * z) ** 2


def mean(function, q):
    """The mean of function(z) for z of mean 0 and variance q."""
    if q == 0:
        return function(0.0)

    def weighted(z):
        return function(z) * math.exp(-z * z / (2 * q)) / math.sqrt(2 * math.pi * q)

    return integrate.quad(weighted, -12 * math.sqrt(q), 12 * math.sqrt(q))[0]


def slope_calls(inputs, seed):
    draw = random.Random(seed)
    return [[[draw.uniform(-4, 4) for _ in range(5)]] for _ in range(3)]


def check_slope(answer, inputs):
    right = total = 0
    for [zs], told in answer:
        if not isinstance(told, list) or len(told) != len(zs):
            return 0, "slope(z) should give as many numbers as z has."
        right += sum(near(one, slope_at(z, inputs)) for z, one in zip(zs, told, strict=True))
        total += len(zs)
    if right == total:
        return 1, "Right at all points that we tried."
    if all(
        near(t, 1 / math.cosh(z) ** 2) for [zs], ts in answer for z, t in zip(zs, ts, strict=True)
    ):
        return 0, "This is the slope of tanh(z). Yours is a tanh(b z): use the chain rule."
    return 0, f"Right at {right} of {total} points."


def variance_calls(inputs, seed):
    draw = random.Random(seed)
    return [[draw.uniform(0.2, 3), draw.uniform(0.5, 2)] for _ in range(3)]


def check_variance(answer, inputs):
    good = [
        near(told, gain**2 * mean(lambda z: phi(z, inputs) ** 2, q), within=0.02)
        for (q, gain), told in answer
    ]
    if all(good):
        return 1, "Right for all variances that we tried."
    return 0, f"Right at {sum(good)} of {len(good)}: next_variance(q, gain) is one layer's step."


def expected_share(at):
    """Gradient at layer 1 relative to the top, by theory, layer by layer."""
    q, share = at["gain"] ** 2, 1.0
    variances = []
    for _ in range(at["depth"]):
        variances.append(q)
        q = at["gain"] ** 2 * mean(lambda z: phi(z, at) ** 2, q)
    for q in variances[:-1]:
        share *= at["gain"] * math.sqrt(mean(lambda z: slope_at(z, at) ** 2, q))
    return share


def check_predicted(answer, inputs):
    expected = expected_share(inputs)
    if near(answer, expected, within=0.03):
        return 1, "Right."
    if near(answer, expected**2, within=0.06):
        return 0.5, "This is the share of the mean square. Take its root: RMS was asked."
    return 0, "Not yet. Multiply one factor for each layer between layer 1 and the top."


def check_measured(answer, inputs):
    if len(answer) != 5:
        return 0, f"Five draws were asked for, and {len(answer)} numbers came."
    if len(set(answer)) < 5:
        return 0, "Draws differ; these numbers do not."
    expected = expected_share(inputs)
    close = sum(expected / 3 < one < expected * 3 for one in answer)
    return close / 5, f"{close} of 5 draws lie within a factor of three of what theory gives."


def check_critical(answer, inputs):
    expected = 1 / (inputs["a"] * inputs["b"])
    if near(answer, expected, within=0.01):
        return 1, "Right: there the factor is one for small signals."
    return 0, "At this gain a small gradient still shrinks or grows from layer to layer."


def check_verdict(answer, inputs):
    due = "starved" if expected_share(inputs) <= 0.1 else "fed"
    return (1, "Right.") if answer.strip().lower() == due else (0, "Compare with a tenth.")


QUESTIONS = (
    Question("slope", 3, "function", check_slope, slope_calls),
    Question("next_variance", 3, "function", check_variance, variance_calls),
    Question("predicted_share", 4, "number", check_predicted),
    Question("measured_shares", 4, "numbers", check_measured),
    Question("critical_gain", 2, "number", check_critical),
    Question("verdict", 1, "text", check_verdict),
    Question("why", 3, "paragraph"),
)
