"""Predicted and measured factor per layer, at 30 layers: python benchmarks/factor_accuracy.py

The table behind the claim that theory predicts the factor. Medians over 20 seeds, 256 digits.
"""

import numpy as np

from vglib.nets import mlp
from vglib.probes import gradient_flow
from vglib.tasks import digits
from vglib.theory import predict_flow

SEEDS = range(20)


def main():
    batch = digits().train.sample(256, seed=0)
    print("| width | activation | init | predicted | median | range | difference |")
    print("|---|---|---|---|---|---|---|")
    for width in (100, 300):
        for activation in ("sigmoid", "tanh", "relu"):
            for init in ("torch", "lecun", "xavier", "he"):
                keywords = dict(depth=30, width=width, activation=activation, init=init)
                flow = gradient_flow([mlp(**keywords, seed=seed) for seed in SEEDS], batch)
                predicted = predict_flow(batch.inputs, **keywords).factor
                low, middle, high = np.quantile(flow.factor, [0, 0.5, 1])
                print(
                    f"| {width} | {activation} | {init} | {predicted:.4f} | {middle:.4f} "
                    f"| {low:.4f} to {high:.4f} | {100 * (middle / predicted - 1):+.2f} % |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
