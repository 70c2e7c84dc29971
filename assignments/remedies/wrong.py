"""Known-wrong answers: what people believe, and the points it deserves."""

from grading.assignment import Wrong

WRONG = (
    Wrong("He's √2, whatever the activation", "critical_gain", "return 2**0.5", 0),
    Wrong(
        "the init that keeps the signal keeps the gradient",
        "critical_gain",
        """
grid = torch.linspace(-10, 10, 20001, dtype=torch.float64)
bell = torch.exp(-(grid**2) / 2)
square = float((phi(q**0.5 * grid) ** 2 * bell).sum() / bell.sum())
return (q / square) ** 0.5
""",
        0,
    ),
    Wrong(
        "the slopes at zero count, whatever the variance",
        "critical_gain",
        "return (2 / (1 + bend**2)) ** 0.5",
        0,
    ),
    Wrong(
        "the gain squared in place of the gain",
        "critical_gain",
        """
grid = torch.linspace(-10, 10, 20001, dtype=torch.float64)
bell = torch.exp(-(grid**2) / 2)
z = q**0.5 * grid
slope = torch.where(z > 0, 1.0, bend * (1 - torch.tanh(z) ** 2))
return float(bell.sum() / (slope**2 * bell).sum())
""",
        1.5,
    ),
    Wrong(
        "batch norm and layer norm do the same to gradients",
        "predicted_norms",
        """
u = torch.linspace(-10, 10, 20001, dtype=torch.float64)
density = torch.exp(-(u**2) / 2)
density = density / density.sum()
slopes = torch.where(u > 0, 1.0, bend * (1 - torch.tanh(u) ** 2))
spread = (phi(u) ** 2 * density).sum() - (phi(u) * density).sum() ** 2
factor = float((slopes**2 * density).sum() / spread) ** 0.5
predicted_norms = [factor ** (depth - 1)] * 2
""",
        1,
    ),
    Wrong(
        "a norm keeps gradients stable: nothing is lost or gained",
        "predicted_norms",
        "predicted_norms = [1.0, 1.0]",
        0,
    ),
    Wrong(
        "layer norm measured with the dimension of batch norm",
        "measured_norms",
        "measured_norms = [predicted_norms[0] * (0.7 + seed / 100) for seed in range(10)]",
        1,
    ),
    Wrong(
        "normalized networks do not change the gradient, five times each",
        "measured_norms",
        "measured_norms = [1 + seed / 100 for seed in range(10)]",
        0,
    ),
    Wrong("a branch over √L, whatever is in it", "branch_scale", "return blocks**-0.5", 0),
    Wrong(
        "twice the RMS is twice the mean square",
        "branch_scale",
        "return ((2 ** (1 / blocks) - 1) / chi) ** 0.5",
        1.5,
    ),
    Wrong(
        "the remedy with the best single run",
        "winner",
        "return int(judged.amax(dim=(1, 2)).argmax())",
        0,
    ),
    Wrong(
        "one rate for all is fair",
        "winner",
        """
rate = int(search.median(dim=2).values.mean(dim=0).argmax())
return int(judged[:, rate].median(dim=1).values.argmax())
""",
        0,
    ),
    Wrong(
        "the rate is chosen by the draws that judge",
        "winner",
        "return int(judged.median(dim=2).values.amax(dim=1).argmax())",
        0,
    ),
    Wrong(
        "batch norm keeps only what it learns, as layer norm does",
        "stored",
        """
weights = 65 * n + (depth - 1) * (n * n + n) + 10 * n + 10
return {"skips": 0, "clipping": 0, "Adam": 2 * weights}.get(remedy, 2 * n * depth)
""",
        1.33,
    ),
    Wrong(
        "Adam changes the step and so costs nothing",
        "stored",
        'return {"batch norm": 4 * n * depth, "layer norm": 2 * n * depth}.get(remedy, 0)',
        1.33,
    ),
    Wrong(
        "no remedy costs anything to store",
        "stored",
        "return 0",
        0,
    ),
    Wrong(
        "He's init mends every deep network",
        "race",
        """
race = []
for gain in (3**-0.5, 2**0.5):
    for seed in range(5):
        torch.manual_seed(seed)
        weights = [(torch.randn(32, 32) * gain / 32**0.5).requires_grad_() for _ in range(13)]
        sizes = ((64, 32), (32, 10))
        ends = [(torch.randn(n) * gain / n[0] ** 0.5).requires_grad_() for n in sizes]
        optimizer = torch.optim.SGD(weights + ends, lr=0.01, momentum=0.9)

        def net(x):
            z = x @ ends[0]
            for w in weights:
                z = phi(z) @ w
            return phi(z) @ ends[1]

        for _ in range(60):
            batch = torch.randint(1200, (32,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(train_x[batch]), train_y[batch]).backward()
            optimizer.step()
        race.append(float((net(test_x).argmax(dim=1) == test_y).float().mean()))
""",
        0,
    ),
)
