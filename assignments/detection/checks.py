"""What the answers to *Four patients* are judged by.

Patients are drawn without torch, as in the notebook, and examined by a backward pass by hand.
"""

import random
import re
from functools import lru_cache

import numpy as np
from sklearn.datasets import load_digits

from grading.assignment import Question
from grading.judge import near

TITLE = "Four patients"
ILL = "every layer", "one layer", "dead", "fine"


def inputs(code):
    """A student's own numbers; the notebook draws them in the same way."""
    draw = random.Random(code)
    return {
        "code": code,
        "depth": draw.randint(9, 12),
        "first": draw.randrange(1500),
        "order": draw.sample(range(4), 4),
    }


def matrix(chance, rows, columns, gain):
    size = gain / columns**0.5
    return np.array([[size * chance.gauss(0, 1) for _ in range(columns)] for _ in range(rows)])


def patient(code, depth, letter, ill):
    """Weights, biases, read-out and factor of one patient, and the layer that is ill in it."""
    chance = random.Random(f"{code} {letter}")
    gain = chance.choice([0.75, 0.8, 0.85]) if ill == 0 else 2**0.5
    weights = [matrix(chance, 32, n, gain) for n in [64] + [32] * (depth - 1)]
    biases = [np.zeros(32) for _ in range(depth)]
    where, alive = chance.randint(4, depth - 2) - 1, chance.randint(5, 8)
    if ill == 1:
        weights[where] *= 0.01
    if ill == 2:
        biases[where] -= 50
        biases[where][chance.sample(range(32), alive)] += 51
    factor = chance.choice([1e-6, 2e-6, 5e-7]) if ill == 3 else 1.0
    return weights, biases, matrix(chance, 10, 32, 1), factor, where + 1


def digits_of(at):
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean()) / x.std(ddof=1)
    return x[at["first"] :][:200], y[at["first"] :][:200]


def backward(weights, biases, readout, factor, x, y):
    """δ by layer, the gradients of all matrices, and z by layer: backpropagation by hand."""
    signals, pre = [np.asarray(x)], []
    for weight, bias in zip(weights, biases, strict=True):
        pre.append(signals[-1] @ np.asarray(weight).T + np.asarray(bias))
        signals.append(np.maximum(pre[-1], 0))
    scores = signals[-1] @ np.asarray(readout).T
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(x)), np.asarray(y, dtype=int)] -= 1
    message = factor * shares / len(x)
    deltas, grads = [], [message.T @ signals[-1]]
    message = message @ np.asarray(readout)
    for weight, z, below in zip(weights[::-1], pre[::-1], signals[-2::-1], strict=True):
        deltas.insert(0, message * (z > 0))
        grads.insert(0, deltas[0].T @ below)
        message = deltas[0] @ np.asarray(weight)
    return deltas, grads, pre


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@lru_cache
def small_layers(code):
    """The gradients of the matrices of the patient with too small weights everywhere."""
    at = inputs(code)
    letter = "ABCD"[at["order"].index(0)]
    *net, _ = patient(code, at["depth"], letter, 0)
    return backward(*net, *digits_of(at))[1]


def look_calls(inputs, seed):
    draw = random.Random(seed)
    calls = []
    for depth, width in ((draw.randint(3, 4), 7), (draw.randint(5, 6), 6)):
        many = range(width)
        weights = [
            [[draw.gauss(0, 1.1) / width**0.5 for _ in many] for _ in many] for _ in range(depth)
        ]
        biases = [[draw.uniform(0, 0.4) for _ in many] for _ in range(depth)]
        readout = [[draw.gauss(0, 1) for _ in many] for _ in range(3)]
        x = [[draw.gauss(0, 1) for _ in many] for _ in range(9)]
        y = [draw.randrange(3) for _ in range(9)]
        calls.append([weights, biases, readout, draw.uniform(0.2, 0.8), x, y])
    return calls


def all_near(told, expected):
    if not isinstance(told, list) or len(told) != len(expected):
        return False
    return all(near(one, due, within=0.001) for one, due in zip(told, expected, strict=True))


def check_look(answer, inputs):
    found = [(told, *backward(*net)) for net, told in answer]
    if all(all_near(told, [rms(d) for d in deltas]) for told, deltas, _, _ in found):
        return 1, "Right for all networks that we tried."
    if all(all_near(told, [rms(d) for d in deltas[::-1]]) for told, deltas, _, _ in found):
        return 0.75, "Right, but upside down: layer 1 comes first."
    if all(all_near(told, [np.linalg.norm(d) for d in deltas]) for told, deltas, _, _ in found):
        return (
            0.5,
            "These are norms. RMS was asked: the mean of the squares, then the root.",
        )
    shapes = [(told, [rms(d) for d in deltas]) for told, deltas, _, _ in found]
    if all(
        isinstance(told, list) and told and all_near(told, scaled(due, told[-1]))
        for told, due in shapes
    ):
        return (
            0.5,
            "The shape is right, the size is not: mind factor, and mean over the batch.",
        )
    if all(all_near(told, [rms(g) for g in grads[:-1]]) for told, _, grads, _ in found):
        return (
            0,
            "These are gradients of weights: δ times the signal. δ alone was asked.",
        )
    if any(isinstance(told, list) and len(told) != len(deltas) for told, deltas, _, _ in found):
        return 0, "There should be one number for each hidden layer; the read-out is none."
    return 0, "Not yet. δ is the gradient at z, before the ReLU and not behind it."


def scaled(values, last):
    """The values, with such a factor that the last is ``last``."""
    if not near(last, last) or values[-1] == 0:
        return values
    return [one * last / values[-1] for one in values]


def dead_calls(inputs, seed):
    draw = random.Random(seed)
    calls = []
    for dead in (draw.randint(1, 3), draw.randint(4, 6), 0):
        shifts = [-9.0] * dead + [draw.uniform(-0.6, 0.3) for _ in range(9 - dead)]
        draw.shuffle(shifts)
        calls.append([[[draw.uniform(-1, 1) + one for one in shifts] for _ in range(12)]])
    return calls


def check_dead(answer, inputs):
    units = [np.array(z) for [z], _ in answer]
    told = [one for _, one in answer]

    def all_are(what):
        return all(near(one, what(z), within=0.001) for z, one in zip(units, told, strict=True))

    if all_are(lambda z: (z <= 0).all(axis=0).mean()):
        return 1, "Right for all layers that we tried."
    if all_are(lambda z: (z <= 0).mean()):
        return 0, "This is how often units are off. Dead is who is off for every example."
    if all_are(lambda z: (z <= 0).any(axis=0).mean()):
        return 0, "A unit that is off for some example is not dead yet."
    return 0, "Not yet: a share of units, from 0 to 1."


def check_verdicts(answer, inputs):
    """Two of four are one exchange; by chance a quarter of all orders have two right."""
    found = [re.sub(r"^[A-D]\s*[:=]\s*", "", one.strip()) for one in re.split("[,;\n]", answer)]
    found = [one.strip().strip("\"'").lower() for one in found if one.strip()]
    if len(found) != 4 or set(found) - set(ILL):
        return 0, "Four findings, with commas between, in the words of the text."
    right = sum(ILL[ill] == one for ill, one in zip(inputs["order"], found, strict=True))
    if right == 4:
        return 1, "All four are right."
    if right == 2:
        return 1 / 3, "Two are right, and two exchanged. Compare layers, not sizes; look at z, too."
    return 0, "Not yet. Look at δ relative to the top layer, and at the units that are dead."


def check_mend(answer, inputs):
    if len(answer) != 2:
        return 0, f"Two layers were asked for, and {len(answer)} numbers came."
    code, depth, order = inputs["code"], inputs["depth"], inputs["order"]
    due = [patient(code, depth, "ABCD"[order.index(ill)], ill)[-1] for ill in (1, 2)]
    right = sum(one == layer for one, layer in zip(answer, due, strict=True))
    if right == 2:
        return 1, "Both are right."
    if answer[0] == due[0] - 1:
        told = "The first layer that starves is not the one that is ill: who sent it so little?"
        return right / 2, f"{right} of 2. {told}"
    return (
        right / 2,
        f"{right} of 2. Between which layers is δ lost? Whose units are off?",
    )


def check_level(answer, inputs):
    grads = small_layers(inputs["code"])
    if near(answer, rms(grads[0]) / rms(grads[-2]), within=0.02):
        return 1, "Right. The log of weight gradients shows no fall."
    if near(answer, rms(grads[-2]) / rms(grads[0]), within=0.02):
        return 0.5, "Upside down: layer 1 divided by the top."
    ratio = np.linalg.norm(grads[0]) / np.linalg.norm(grads[-2])
    if near(answer, float(ratio), within=0.02):
        return 0.5, "These are norms, and layer 1 has more columns. RMS was asked."
    if near(answer, answer) and answer < 0.2:
        return 0, "This is as small as δ would be. The weight gradient has the signal in it, too."
    return 0, "Not yet. Weight gradients of the patient whose weights are all too small."


def check_alarm(answer, inputs):
    expected = 1e-7 / min(float(np.abs(one).mean()) for one in small_layers(inputs["code"]))
    if near(answer, expected, within=0.02):
        return 1, "Right. So the alarm hangs on the units of the loss."
    if near(answer, 1 / expected, within=0.02):
        return 0.5, "Upside down: the gradients have to become smaller."
    if near(answer, 1):
        return 0, "Then the alarm would sound already. Gradients grow with the loss."
    return 0, "Not yet. All gradients are multiplied by what the loss is multiplied by."


def shape_calls(inputs, seed):
    """Ten cases. Two starve in the middle alone, and sizes say nothing about the answer."""
    draw = random.Random(seed)

    def profile(relative, size):
        return [one * size * draw.uniform(0.9, 1.1) for one in relative]

    fall = [0.6**k for k in range(9, -1, -1)]
    level = [1.0] * 10
    dip = [0.8, 0.4, 0.1, 0.03, 0.03, 0.03, 0.1, 0.4, 0.8, 1.0]
    rise = [1.6**k for k in range(9, -1, -1)]
    cases = [(fall, 1.0, 1e-3), (fall, 1e3, 1e-7), (fall, 1e-9, 1e-3)]
    cases += [(dip, 1.0, 1e-3), (dip, 1e-9, 1e-7)]
    cases += [(rise, 1.0, 1e-3), (rise, 1e-11, 1e-7)]
    cases += [(level, 1e-2, 1e-8), (level, 1e-9, 1e-3), (level, 1.0, 1e-2)]
    draw.shuffle(cases)
    return [[profile(shape, size), profile(level, step)] for shape, size, step in cases]


def shape_word(delta, step):
    if min(delta) <= 0.1 * delta[-1]:
        return "starved"
    if max(delta) >= 10 * delta[-1]:
        return "exploding"
    return "small" if max(step) < 1e-5 else "fed"


def check_shape(answer, inputs):
    wrong = [arguments for arguments, told in answer if told != shape_word(*arguments)]
    if not wrong:
        return 1, "Right for all ten networks that we tried."
    if len(wrong) == 2 and all(min(d) <= 0.1 * d[-1] < d[0] for d, _ in wrong):
        return 0.5, "Right, except where layers starve in the middle: look at all of them."
    right = len(answer) - len(wrong)
    small = f"Right for {right} of {len(answer)}."
    return 0, f"{small} Would your rule say the same, were the loss multiplied by a thousand?"


QUESTIONS = (
    Question("look", 4, "function", check_look, look_calls),
    Question("dead_share", 2, "function", check_dead, dead_calls),
    Question("verdicts", 3, "text", check_verdicts),
    Question("mend", 2, "numbers", check_mend),
    Question("level", 1, "number", check_level),
    Question("alarm_factor", 2, "number", check_alarm),
    Question("shape_of", 3, "function", check_shape, shape_calls),
    Question("letter", 3, "paragraph"),
)
