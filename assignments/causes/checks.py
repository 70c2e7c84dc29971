"""What the answers to *Predict it before you build it* are judged by."""

import math
import random

from scipy import integrate

from grading.assignment import Question
from grading.judge import near, number

TITLE = "Predict it before you build it"


def inputs(code):
    """A student's own numbers; the notebook draws them in the same way."""
    # For all of these the factor of each layer is below 0.92, that of the top layer at least 1.13
    # times that of layer 1, and the share below 0.34. So layers taken wrongly show.
    draw = random.Random(code)
    return {
        "a": draw.choice([1.6, 1.7, 1.8]),
        "b": draw.choice([0.5, 0.52, 0.54]),
        "gain": draw.choice([0.85, 0.9, 0.95]),
        "depth": draw.randint(8, 16),
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
    if not all(number(told) for _, told in answer):
        return 0, "next_variance(q, gain) should give one number."

    def everywhere(rule):
        return all(near(told, rule(q, gain), within=0.02) for (q, gain), told in answer)

    def due(q, gain):
        return gain**2 * mean(lambda z: phi(z, inputs) ** 2, q)

    if everywhere(due):
        return 1, "Right for all variances that we tried."
    if everywhere(lambda q, gain: due(q, gain) / gain):
        return 0, "The gain is a standard deviation; its square belongs into a variance."
    if everywhere(lambda q, gain: q * (gain * inputs["a"] * inputs["b"]) ** 2):
        return 0, "So small signals grow. For larger ones the tanh bends: take the mean of φ(z)²."
    (first, told), *_ = answer
    if everywhere(lambda q, gain: due(q, gain) * told / due(*first)):
        return 0, f"Always {told / due(*first):.3g} times what is due. Do the weights add up to 1?"
    return 0, "Not yet. Asked was gain² times the mean of φ(z)², with z of mean 0 and variance q."


def factors(at):
    """What each layer multiplies the RMS of the gradient by, from layer 1 to the top."""
    q, found = at["gain"] ** 2, []
    for _ in range(at["depth"]):
        found.append(at["gain"] * math.sqrt(mean(lambda z: slope_at(z, at) ** 2, q)))
        q = at["gain"] ** 2 * mean(lambda z: phi(z, at) ** 2, q)
    return found


def expected_share(at):
    """Gradient at layer 1 relative to the top, by theory, layer by layer."""
    return math.prod(factors(at)[:-1])


def check_predicted(answer, inputs):
    each = factors(inputs)
    expected = math.prod(each[:-1])
    if near(answer, expected, within=0.03):
        return 1, "Right."
    steepest = inputs["gain"] * inputs["a"] * inputs["b"]
    if near(answer, steepest ** len(each[:-1]), within=0.005):
        return 0, "This takes the steepest slope everywhere. Units away from 0 have smaller ones."
    if near(answer, expected**2, within=0.06):
        return 0.5, "This is the share of the mean square. Take its root: RMS was asked."
    for taken, which in (
        (each, "1 to depth"),
        (each[1:], "2 to depth"),
        (each[1:-1], "2 to depth−1"),
    ):
        if near(answer, math.prod(taken), within=0.02):
            return 0.5, f"You took the layers {which}. The slopes that count are of 1 to depth−1."
    return 0, "Not yet. Layers 1 to depth−1 multiply the RMS by gain times RMS slope, each its own."


def check_measured(answer, inputs):
    if len(answer) != 5:
        return 0, f"Five draws were asked for, and {len(answer)} numbers came."
    if len(set(answer)) < 5:
        return 0, "Draws differ; these numbers do not."
    expected = expected_share(inputs)
    if all(one and expected / 3 < 1 / one < expected * 3 for one in answer):
        return 0, "Upside down: asked was layer 1 divided by the top."
    close = sum(expected / 3 < one < expected * 3 for one in answer)
    return close / 5, f"{close} of 5 draws lie within a factor of three of what theory gives."


def check_critical(answer, inputs):
    expected = 1 / (inputs["a"] * inputs["b"])
    if near(answer, expected, within=0.01):
        return 1, "Right: there the factor is one for small signals."
    return 0, "At this gain a small signal still shrinks or grows from layer to layer."


def check_verdict(answer, inputs):
    share, told = expected_share(inputs), answer.strip().lower()
    if near(share, 0.1, within=0.03) and told in ("starved", "fed"):
        return 1, "Right; your share is so near to a tenth that both are."
    due = "starved" if share <= 0.1 else "fed"
    return (1, "Right.") if told == due else (0, "Compare the predicted share with a tenth.")


QUESTIONS = (
    Question("slope", 3, "function", check_slope, slope_calls),
    Question("next_variance", 3, "function", check_variance, variance_calls),
    Question("predicted_share", 4, "number", check_predicted),
    Question("measured_shares", 4, "numbers", check_measured),
    Question("critical_gain", 2, "number", check_critical),
    Question("verdict", 1, "text", check_verdict),
    Question("why", 3, "paragraph"),
)
