"""Known-wrong answers: what people believe, and the points it deserves."""

from grading.assignment import Wrong

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
        "one draw, written down five times",
        "measured_shares",
        "measured_shares = [predicted_share] * 5",
        0,
    ),
)
