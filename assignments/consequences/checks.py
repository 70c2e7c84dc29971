"""What the answers to *What will the wait cost?* are judged by."""

import math
import random

from grading.assignment import Question
from grading.judge import near

TITLE = "What will the wait cost?"


def inputs(code):
    """A student's own numbers; the notebook draws them in the same way."""
    draw = random.Random(code)
    return {
        "s": draw.choice([0.5, 0.6, 0.75, 0.9, 1.2]),
        "bias_variance": draw.choice([0.1, 0.15, 0.2]),
        "depth": draw.choice([8, 9]),
        "cut": draw.choice([0.5, 0.55, 0.6]),
        "chain_depth": draw.randint(6, 9),
        "start": draw.choice([0.55, 0.6, 0.65, 0.7]),
        "goal": draw.choice([1.2, 1.5, 1.8]),
        "lag": draw.randint(30, 200),
    }


def steps_of(start, depth, frozen, goal, rate):
    """Steps of gradient descent, with every weight by itself, until half of the goal is there."""
    weights, count = [start] * depth, 0  # the first ones are next to the input
    while (output := math.prod(weights)) < goal / 2:
        weights[frozen:] = [w - rate * (output - goal) * output / w for w in weights[frozen:]]
        count += 1
    return count


def wait_calls(inputs, seed):
    draw = random.Random(seed)
    calls = []
    for at_least in (0, 0, 1, 2):
        depth = draw.randint(5, 8)
        frozen = draw.randint(at_least, depth // 2) if at_least else 0
        goal, rate = round(draw.uniform(1, 2), 3), round(draw.uniform(0.002, 0.005), 4)
        calls.append([round(draw.uniform(0.6, 0.8), 3), depth, frozen, goal, rate])
    return calls


def check_wait(answer, inputs):
    good, naive = [], []
    for (start, depth, frozen, goal, rate), told in answer:
        expected = steps_of(start, depth, frozen, goal, rate)
        good.append(near(told, expected, within=0.01 + 2 / expected))
        first = rate * (goal - start**depth) * start ** (depth - 1)
        way = (goal / 2 / start**frozen) ** (1 / (depth - frozen)) - start
        naive.append(near(told, way / first, within=0.01 + 2 / expected))
    if all(good):
        return 1, "Right for all chains that we tried."
    if good[0] and good[1]:
        return (
            0.5,
            "Right where nothing is frozen. Frozen weights stay, and count in the output.",
        )
    if all(naive):
        return 0, "This is the naive guess: it keeps the first step. The gradient grows as you go."
    return 0, f"Right for {sum(good)} of {len(good)} chains. Update all free weights at every step."


def cost_of_freezing(at):
    chain = at["start"], at["chain_depth"]
    waits = [steps_of(*chain, k, at["goal"], 0.001) for k in (0, at["chain_depth"] // 2)]
    return waits[1] / waits[0]


def check_freezing(answer, inputs):
    expected = cost_of_freezing(inputs)
    if near(answer, expected, within=0.02):
        return 1, "Right."
    if near(answer, 1 / expected, within=0.02):
        return 0.5, "Upside down: with frozen weights it takes longer."
    if near(answer, 1, within=0.05):
        return 0, "Frozen weights are weights that do not grow, and the others need them to."
    return 0, "Not yet. Divide two waits of your own chain, at the rate 0.001."


def slope_square(q, s):
    """The mean squared slope of erf(s z), for z of variance q: a closed form."""
    return 4 * s**2 / math.pi / math.sqrt(1 + 4 * s**2 * q)


def output_square(q, s):
    """The mean square of erf(s z), for z of variance q: a closed form."""
    return 2 / math.pi * math.asin(2 * s**2 * q / (1 + 2 * s**2 * q))


def chi(weight_variance, at):
    q = 1.0
    for _ in range(2000):
        q = weight_variance * output_square(q, at["s"]) + at["bias_variance"]
    return weight_variance * slope_square(q, at["s"])


def depth_calls(inputs, seed):
    draw = random.Random(seed)
    edge = math.pi / (4 * inputs["s"] ** 2)  # where χ is one without any signal
    shares = draw.uniform(0.3, 0.5), draw.uniform(0.5, 0.7), draw.uniform(0.7, 0.9)
    return [[share * edge] for share in shares]


def check_depth(answer, inputs):
    def all_near(what):
        return all(near(told, what(variance), within=0.02) for [variance], told in answer)

    if all_near(lambda v: 6 / math.log(1 / chi(v, inputs))):
        return 1, "Right for all variances that we tried."
    if all_near(lambda v: 12 / math.log(1 / chi(v, inputs))):
        return 0.5, "Twice too deep: χ multiplies the mean square of δ, not its RMS."
    if all_near(lambda v: 1 / math.log(1 / chi(v, inputs))):
        return 0.5, "This is one depth scale. The rule takes six."
    if all_near(lambda v: 6 / math.log(1 / (v * slope_square(0, inputs["s"])))):
        return 0, "You took the slope at zero for all units. With biases the signal has a length."
    return 0, "Not yet. First the length that stays from layer to layer, then χ there."


def share_left(gain, at):
    """RMS of δ at layer 1 relative to the top, by theory, layer by layer."""
    q, share = gain**2, 1.0
    for _ in range(at["depth"] - 1):
        share *= gain * math.sqrt(slope_square(q, at["s"]))
        q = gain**2 * output_square(q, at["s"])
    return share


def naive_ratio(at):
    level = math.sqrt(math.pi) / (2 * at["s"])
    return share_left(level, at) / share_left(level * at["cut"], at)


def check_naive(answer, inputs):
    expected = naive_ratio(inputs)
    if near(answer, expected, within=0.03):
        return 1, "Right."
    if near(answer, expected**2, within=0.06):
        return 0.5, "This is the ratio of mean squares. Take its root: RMS was asked."
    if near(answer, 1 / expected, within=0.03):
        return 0.5, "Upside down: the starved twin should need more steps, not fewer."
    if near(answer, inputs["cut"] ** (1 - inputs["depth"]), within=0.03):
        return 0, "The healthy twin loses something, too: its units leave the steepest part."
    return 0, "Not yet. One factor for each layer between layer 1 and the top, in both twins."


def check_real(answer, inputs):
    """In 48 pairs of ours the naive guess was 3 to 9 times the ratio of the steps.

    Other ways of building, drawing and looking are allowed for: 2 to 16 times. The naive guess
    itself is out, and so is "no more steps than the healthy twin".
    """
    if len(answer) != 3:
        return 0, f"Three draws were asked for, and {len(answer)} numbers came."
    if len(set(answer)) < 2:
        return 0, "Draws differ; these numbers do not."
    naive = naive_ratio(inputs)
    close = sum(max(2, naive / 16) < one < naive / 2 for one in answer)
    if not close and all(one < 1 for one in answer):
        return 0, "The starved twin arrived sooner? Divide its steps by those of the healthy one."
    if not close and min(answer) >= naive / 2:
        return 0, "That is too near the naive guess, or beyond. Are rate and momentum as given?"
    return close / 3, f"{close} of 3 pairs cost what pairs like yours cost us, widely taken."


def check_moved(answer, inputs):
    """In 48 networks layer 1 moved 0.9 to 1.6 times as far as the top one.

    The bounds are four times as wide. Hardly moved would be a tenth, at most.
    """
    if len(answer) != 3:
        return 0, f"Three networks were asked for, and {len(answer)} numbers came."
    if len(set(answer)) < 3:
        return 0, "Networks differ; these numbers do not."
    if all(abs(one) <= 0.1 for one in answer):
        return (
            0,
            "Hardly at all? Divide each layer's change by its own size at the start.",
        )
    close = sum(0.25 < one < 6 for one in answer)
    return close / 3, f"{close} of 3 lie where such networks lie, widely taken."


def check_bias(answer, inputs):
    def logit(share):
        kept = share ** (1 / inputs["lag"])
        return math.log(kept / (1 - kept))

    if near(answer, logit(0.5), within=0.01):
        return 1, "Right."
    if near(answer, logit(0.1), within=0.01):
        return 0.5, "With this bias a tenth is left. Half was asked for."
    if near(answer, 1, within=0.01):
        return 0, "The forget bias that libraries offer opens the door for a few steps only."
    return 0, "Not yet. The gate's share, multiplied once for each step back, should leave a half."


QUESTIONS = (
    Question("wait", 4, "function", check_wait, wait_calls),
    Question("freezing_costs", 2, "number", check_freezing),
    Question("depth_limit", 4, "function", check_depth, depth_calls),
    Question("naive", 2, "number", check_naive),
    Question("real", 2, "numbers", check_real),
    Question("moved", 1, "numbers", check_moved),
    Question("forget_bias", 2, "number", check_bias),
    Question("bill", 3, "paragraph"),
)
