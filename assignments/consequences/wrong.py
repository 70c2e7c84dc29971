"""Known-wrong answers: what people believe, and the points it deserves."""

from grading.assignment import Wrong

WRONG = (
    Wrong(
        "the naive guess: the way to go over the first step",
        "wait",
        """
way = (goal / 2 / start**frozen) ** (1 / (depth - frozen)) - start
return round(way / (rate * (goal - start**depth) * start ** (depth - 1)))
""",
        0,
        ("freezing_costs",),
    ),
    Wrong(
        "frozen weights are as good as not there",
        "wait",
        """
free, count = start, 0
while free ** (depth - frozen) < goal / 2:
    free += rate * (goal - free ** (depth - frozen)) * free ** (depth - frozen - 1)
    count += 1
return count
""",
        2,
        ("freezing_costs",),
    ),
    Wrong(
        "starved layers hardly move, so freezing them costs nothing",
        "freezing_costs",
        "freezing_costs = 1.0",
        0,
    ),
    Wrong("half of the layers, twice the steps", "freezing_costs", "freezing_costs = 2.0", 0),
    Wrong(
        "χ multiplies δ itself",
        "depth_limit",
        """
bell = torch.exp(-(grid**2) / 2)
bell /= bell.sum()
q = 1.0
for _ in range(500):
    h = torch.erf(s * q**0.5 * grid)
    q = weight_variance * float((h**2 * bell).sum()) + bias_variance
slopes = 2 * s / math.pi**0.5 * torch.exp(-(s**2) * q * grid**2)
return 6 / math.log(1 / (weight_variance * float((slopes**2 * bell).sum())) ** 0.5)
""",
        2,
    ),
    Wrong(
        "the largest slope for every unit, whatever the biases",
        "depth_limit",
        "return 6 / math.log(math.pi / (4 * s**2 * weight_variance))",
        0,
    ),
    Wrong(
        "the healthy twin loses nothing",
        "naive",
        "level = math.pi**0.5 / (2 * s)\nnaive = cut ** (1 - depth)",
        0,
    ),
    Wrong(
        "the steps go as one over the first gradient",
        "real",
        """
def left(gain):
    q, share = gain**2, 1.0
    for _ in range(depth - 1):
        share *= gain * 2 * s / math.pi**0.5 / (1 + 4 * s**2 * q) ** 0.25
        q = gain**2 * 2 / math.pi * math.asin(2 * s**2 * q / (1 + 2 * s**2 * q))
    return share


level = math.pi**0.5 / (2 * s)
pairs = [((1, 1.0), (1, share)) for share in (1.1, 1.2, 1.3)]
real = [share * left(level) / left(cut * level) for share in (0.9, 1, 1.1)]
""",
        0,
        ("moved",),
    ),
    Wrong(
        "starving costs accuracy, not steps",
        "real",
        """
pairs = [((1, 1.0), (1, share)) for share in (1.1, 1.2, 1.3)]
real = [0.9, 1.0, 1.1]
""",
        0,
        ("moved",),
    ),
    Wrong(
        "the weights of starved layers hardly move",
        "moved",
        "moved = [cut**depth * share for share in (0.9, 1, 1.1)]",
        0,
    ),
    Wrong("a forget bias of 1 is enough", "forget_bias", "forget_bias = 1.0", 0),
    Wrong(
        "the forget gate lets a half through per step",
        "forget_bias",
        "forget_bias = math.log(0.5 / (1 - 0.5))",
        0,
    ),
)
