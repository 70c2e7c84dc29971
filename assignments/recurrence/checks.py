"""What the answers to *How far back does it remember?* are judged by."""

import math
import random

import numpy as np
from scipy import integrate, optimize

from grading.assignment import Question
from grading.judge import near, number

TITLE = "How far back does it remember?"


def inputs(code):
    """A student's own numbers; the notebook draws them in the same way."""
    draw = random.Random(code)
    return {
        "radius": draw.choice([0.7, 0.75, 0.8, 0.85]),
        "push": draw.choice([6.0, 9.0, 12.0, 15.0]),
        "fed": draw.choice([0.1, 0.2, 0.3, 0.5, 0.8]),
        "bias": draw.choice([0.6, 0.9, 1.2, 1.5]),
    }


def numbers(value, count):
    """Whether it is a list of so many finite numbers."""
    return isinstance(value, list) and len(value) == count and all(map(number, value))


def all_near(told, expected, within=0.01, floor=0.0):
    """Whether all are near; ``floor``: what may be taken for nothing."""
    return all(
        near(one, due, within=within) or abs(one - due) <= floor
        for one, due in zip(told, expected, strict=True)
    )


def stretches(matrix, steps=300):
    """The most that each power stretches, from power 0 on."""
    powers = [np.eye(len(matrix))]
    for _ in range(steps - 1):
        powers.append(np.array(matrix) @ powers[-1])
    return np.linalg.norm(np.stack(powers), 2, axis=(1, 2))


def last_above(values, bound=0.1):
    above = np.flatnonzero(values > bound)
    return int(above[-1])


def radius_of(matrix):
    return max(abs(np.linalg.eigvals(np.array(matrix))))


def reach_calls(inputs, seed):
    """Matrices that push one direction into another, turned so that it does not show."""
    draw = np.random.default_rng(seed)
    calls = []
    while len(calls) < 4:
        size = (2, 2, 3, 5)[len(calls)]
        matrix = np.triu(draw.uniform(2, 8, (size, size)), 1)
        matrix += np.diag(draw.uniform(0.2, 0.85, size))
        if size > 2:
            matrix = np.triu(matrix) - np.triu(matrix, 2)
        turn = np.linalg.qr(draw.normal(size=(size, size)))[0]
        matrix = turn @ matrix @ turn.T
        found = stretches(matrix)
        clear = np.abs(np.log(found / 0.1)).min() > 0.02
        by_radius = last_above(radius_of(matrix) ** np.arange(300))
        if clear and last_above(found) < 250 and abs(last_above(found) - by_radius) > 3:
            calls.append([matrix.tolist()])
    return calls


def check_reach(answer, inputs):
    told = [one for _, one in answer]
    if not all(map(number, told)):
        return 0, "reach(U) should give one whole number."
    expected = [last_above(stretches(matrix)) for (matrix,), _ in answer]
    if told == expected:
        return 1, "Right for all matrices that we tried."
    if told == [due + 1 for due in expected]:
        return 0.5, "This is the first lag that starves. Asked was the last that does not."
    by_radius = [last_above(radius_of(matrix) ** np.arange(300)) for (matrix,), _ in answer]
    if all(abs(one - due) <= 1 for one, due in zip(told, by_radius, strict=True)):
        return 0, "This takes the spectral radius for each step. On the way, a matrix may stretch."
    return 0, "Not yet. What matters at a lag is how much that power of U can stretch."


def lag_calls(inputs, seed):
    draw = np.random.default_rng(seed)
    return [
        [draw.normal(size=(n, n)).tolist(), draw.normal(size=(steps, n)).tolist()]
        for n, steps in ((3, 6), (4, 9), (6, 12))
    ]


def gradients(matrix, fed, sloping=True, turned=False, late=0):
    """Norms of ∂ℒ/∂h by lag, and of δ, by the formula of the chapter.

    What goes wrong: no slopes; the matrix not transposed; slopes of ``late`` steps before.
    """
    matrix, h, states = np.array(matrix), np.zeros(len(matrix)), []
    for one in np.array(fed):
        h = np.tanh(matrix @ h + one)
        states.append(h)
    back, norms, deltas = np.ones(len(matrix)), [], []
    states = [np.zeros(len(matrix))] * late + states[: len(states) - late]
    matrix = matrix.T if turned else matrix
    for state in reversed(states):
        slopes = 1 - state**2 if sloping else 1.0
        norms.append(np.linalg.norm(back))
        deltas.append(np.linalg.norm(slopes * back))
        back = matrix.T @ (slopes * back)
    return norms, deltas


def check_by_lag(answer, inputs):
    if not all(numbers(told, len(x)) for (_, x), told in answer):
        return 0, "by_lag(U, x) should give as many numbers as x has rows."

    def everywhere(rule):
        return all(all_near(told, rule(*call), within=0.001) for call, told in answer)

    if everywhere(lambda *call: gradients(*call)[0]):
        return 1, "Right for all sequences that we tried."
    if everywhere(lambda *call: gradients(*call)[0][::-1]):
        return 0.5, "The other way round: lag 0 is the last step."
    if everywhere(lambda *call: gradients(*call, sloping=False)[0]):
        return 0, "This is a network without tanh: the slopes are missing."
    if everywhere(lambda *call: gradients(*call)[1]):
        return 0.5, "This is δ, before the activation. Asked was the gradient of the state."
    if everywhere(lambda *call: gradients(*call, turned=True)[0]):
        return 0, "This is U. On the way back its transpose, U.T, multiplies."
    if everywhere(lambda *call: gradients(*call, late=1)[0]):
        return 0, "The slopes are a step too early: from h_t back to h_{t−1} it is those of h_t."
    return 0, "Not yet. Keep the gradient of each state, or use the formula step by step."


def expected_border(fed):
    """The gain at which the gradient keeps its size, by the chapter's two formulas."""

    def mean(function, q):
        def weighted(x):
            return function(math.sqrt(q) * x) * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

        return integrate.quad(weighted, -12, 12)[0]

    # At the border gain² is 1 / E[slope²], and q = gain² E[tanh²] + fed.
    def excess(q):
        gain_square = 1 / mean(lambda z: 1 / math.cosh(z) ** 4, q)
        return gain_square * mean(lambda z: math.tanh(z) ** 2, q) + fed - q

    q = optimize.brentq(excess, fed, 200)
    return mean(lambda z: 1 / math.cosh(z) ** 4, q) ** -0.5


def check_border(answer, inputs):
    expected = expected_border(inputs["fed"])
    if near(answer, expected, within=0.02):
        return 1, "Right."
    if near(answer, 1):
        return 0, "A radius of 1 would do if all slopes were 1. What is read pushes units away."
    if near(answer, expected**2, within=0.04):
        return 0.5, "This is its square."
    return 0, "Not yet. The variance depends on the radius, and the slopes on the variance."


def bias_calls(inputs, seed):
    draw = random.Random(seed)
    return [
        [[draw.uniform(2, 120) for _ in range(n)], draw.uniform(0.1, 0.3) + extra]
        for n, extra in ((3, 0), (5, 0.4), (4, 0.6))
    ]


def forget_bias(time, share):
    gate = share ** (1 / time)
    return math.log(gate / (1 - gate))


def check_biases(answer, inputs):
    if not all(numbers(told, 4 * len(times)) for (times, _), told in answer):
        return 0, "start_biases should give four numbers for each time."

    def everywhere(rule, quarters):
        for (times, share), told in answer:
            n, due = len(times), [rule(time, share) for time in times]
            parts = [told[i * n : i * n + n] for i in range(4)]
            signs = {0: -1, 1: 1, 2: 0, 3: 0}
            for i in quarters:
                if not all_near(parts[i], [signs[i] * b for b in due], 0.01, floor=1e-3):
                    return False
        return True

    if everywhere(forget_bias, range(4)):
        return 1, "Right for all times and shares that we tried."
    if everywhere(lambda time, share: -forget_bias(time, share), range(4)):
        return 1 / 3, "Right numbers, wrong order. PyTorch has input, forget, cell and output gate."
    if everywhere(forget_bias, [1]):
        return 0.5, "The forget gates are right. See to the other three parts."
    if everywhere(lambda time, share: math.log(time), [1]):
        return 0, "log τ leaves about a third after τ steps. The share was to be chosen."
    return (
        0,
        "Not yet. PyTorch's order: input, forget, cell, output. A gate is a sigmoid, once a step.",
    )


def expected_factor(bias):
    gate = 1 / (1 + math.exp(-bias))
    return gate + (1 - gate) / (2 * math.sqrt(3)), gate


def check_factor(answer, inputs):
    expected, gate = expected_factor(inputs["bias"])
    if near(answer, expected, within=0.01):
        return 1, "Right."
    if near(answer, gate, within=0.005):
        return 0, "This is the door alone. There is another way round."
    if near(answer, gate + 1 / (4 * math.sqrt(3)), within=0.005):
        return 0, "This is an LSTM's. In a GRU the update gate is in the loop, too."
    return 0, "Not yet. The loop has what the door leaves, times half, times the matrix's 1/√3."


# In ten draws for each bias from 0.5 to 2 (also with Gaussian inputs, 100 units, 60 steps, or both
# of PyTorch's biases) factors lay between 0.020 below and 0.010 above the prediction; counted from
# lag 0, down to 0.025 below. The door alone is 0.05 to 0.1 below, the bias at the reset gate 0.06
# to 0.14, an LSTM's formula 0.04 to 0.1 above, the bias in both of PyTorch's vectors about 0.09.
BAND = 0.033


def check_measured(answer, inputs):
    if len(answer) != 5:
        return 0, f"Five draws were asked for, and {len(answer)} numbers came."
    if len(set(answer)) < 5:
        return 0, "Draws differ; these numbers do not."
    expected, _ = expected_factor(inputs["bias"])
    close = sum(abs(one - expected) < BAND for one in answer)
    hint = " Is the bias the update gate's, the other one empty? Is it lag 40 over lag 10?"
    told = f"{close} of 5 draws lie where door and loop together put them."
    return close / 5, told + hint * (close < 5)


def clip_calls(inputs, seed):
    draw = random.Random(seed)
    sizes = (5.0, 3.0, 0.05, 1e-9, 0.0)
    return [
        [
            [size * (0.2 + draw.random()) * draw.choice([-1, 1]) for _ in range(6)],
            draw.uniform(1, 2),
        ]
        for size in sizes
    ]


def check_clip(answer, inputs):
    right = {"long": [], "short": [], "zeros": []}
    for (gradient, bound), told in answer:
        length = math.hypot(*gradient)
        kind = "long" if length > bound else "short" if length else "zeros"
        due = [min(1.0, bound / length) * one if length else 0.0 for one in gradient]
        fits = numbers(told, len(gradient)) and all_near(told, due, within=0.001)
        right[kind].append(fits)
    long, short, zeros = (all(right[kind]) for kind in ("long", "short", "zeros"))
    if long and short:
        if zeros:
            return 1, "Right, for long gradients, for short ones and for zeros."
        return 0.75, "Right but for zeros: they should stay, and 0 / 0 is no number."
    if long:
        return 0, "Clipping is a maximum. It must not make a short gradient long."
    if short:
        return 0, "Short ones are right. A long one has to keep its direction, at the bound's norm."
    return 0, "Not yet. A long one is to get the bound's norm and keep its direction."


QUESTIONS = (
    Question("reach", 3, "function", check_reach, reach_calls),
    Question("by_lag", 3, "function", check_by_lag, lag_calls),
    Question("border", 2, "number", check_border),
    Question("start_biases", 3, "function", check_biases, bias_calls),
    Question("predicted_factor", 2, "number", check_factor),
    Question("measured_factors", 2, "numbers", check_measured),
    Question("clip", 2, "function", check_clip, clip_calls),
    Question("answers", 3, "paragraph"),
)
