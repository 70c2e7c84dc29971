"""Known-wrong answers: what people believe, and the points it deserves."""

from grading.assignment import Wrong

LAYERS = """
q, factors = gain**2, []
bell = torch.exp(-(grid**2) / 2)
for _ in range(depth):
    slopes = slope(q**0.5 * grid)
    factors.append(gain * float((slopes**2 * bell).sum() / bell.sum()) ** 0.5)
    q = next_variance(q, gain)
predicted_share = float(torch.tensor(factors[{}]).prod())
"""

WRONG = (
    Wrong(
        "the slope of tanh, without the chain rule",
        "slope",
        "return 1 / torch.cosh(z) ** 2",
        0,
        ("predicted_share", "verdict"),
    ),
    Wrong(
        "the mean square of activations is their variance times the slope squared at 0",
        "next_variance",
        "return gain**2 * a**2 * b**2 * q",
        0,
        ("predicted_share", "verdict"),
    ),
    Wrong(
        "the gain where its square belongs",
        "next_variance",
        """
bell = torch.exp(-(grid**2) / 2)
values = a * torch.tanh(b * q**0.5 * grid)
return gain * float((values**2 * bell).sum() / bell.sum())
""",
        0,
        ("predicted_share", "verdict"),
    ),
    Wrong(
        "a bell curve that does not add up to 1",
        "next_variance",
        """
bell = torch.exp(-(grid**2) / 2)
values = a * torch.tanh(b * q**0.5 * grid)
return gain**2 * float((values**2 * bell).sum() * (grid[1] - grid[0]))
""",
        0,
        ("predicted_share", "verdict"),
    ),
    Wrong(
        "the slopes of layers 1 to depth",
        "predicted_share",
        LAYERS.format(":"),
        2,
        ("verdict",),
    ),
    Wrong(
        "the slopes of layers 2 to depth",
        "predicted_share",
        LAYERS.format("1:"),
        2,
        ("verdict",),
    ),
    Wrong(
        "the mean square in place of the RMS",
        "predicted_share",
        """
q, predicted_share = gain**2, 1.0
bell = torch.exp(-(grid**2) / 2)
for _ in range(depth - 1):
    slopes = slope(q**0.5 * grid)
    predicted_share *= gain**2 * float((slopes**2 * bell).sum() / bell.sum())
    q = next_variance(q, gain)
""",
        2,
        ("verdict",),
    ),
    Wrong(
        "the largest slope at every layer",
        "predicted_share",
        "predicted_share = (gain * a * b) ** (depth - 1)",
        0,
        ("verdict",),
    ),
    Wrong(
        "Xavier's gain for tanh, 5/3, whatever the activation",
        "critical_gain",
        "critical_gain = 5 / 3",
        0,
    ),
    Wrong(
        "the ratio upside down",
        "measured_shares",
        "measured_shares = [(1 + seed / 100) / predicted_share for seed in range(5)]",
        0,
    ),
    Wrong(
        "one draw, written down five times",
        "measured_shares",
        "measured_shares = [predicted_share] * 5",
        0,
    ),
)
