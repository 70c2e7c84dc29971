"""How exact the measurements are: python benchmarks/accuracy.py

First the norms of tensors whose entries go down to 1e-300, as `numerics.norm`, as the `Monitor`'s
batched norms and as ``tensor.norm()`` gives them, beside Python's own exact fractions. Then the
gradients by lag of fused recurrent modules beside autograd through the steps written out.
"""

from fractions import Fraction
from math import isqrt

import numpy as np
import torch

from vglib.numerics import norm, norms
from vglib.probes import gradient_by_lag, input_gradient_by_lag
from vglib.recurrent import recurrent
from vglib.tasks import recall


def exact_norm(tensor):
    """√Σx² in whole-number arithmetic: right to all digits of a float."""
    square = sum(Fraction(x) ** 2 for x in tensor.double().flatten().tolist())
    digits = 2**1200  # 1e361: room for squares of the smallest floats
    return float(Fraction(isqrt(int(square * digits**2)), digits))


def main():
    print("| entries about | type | probes | Monitor | tensor.norm() |\n|---|---|---|---|---|")
    generator = torch.Generator().manual_seed(0)
    for exponent in (0, -15, -20, -30, -44, -100, -160, -200, -300, 150, 300):
        for dtype in (torch.float32, torch.float64):
            values = torch.randn(64, 64, generator=generator, dtype=torch.float64)
            tensor = (values * 10.0**exponent).to(dtype)
            if not tensor.isfinite().all() or not tensor.any():
                continue  # outside the type's own range
            exact = exact_norm(tensor)
            found = norm(tensor), *norms([tensor, tensor])[:1], tensor.norm().item()
            cells = " | ".join(f"{abs(value / exact - 1):.1e}" for value in found)
            print(f"| 1e{exponent} | {str(dtype)[6:]} | {cells} |")
    print("\n| kind | type | ∂L/∂x_t, fused against written out, 100 lags |\n|---|---|---|")
    for kind in ("rnn", "lstm", "gru"):
        for dtype in (torch.float32, torch.float64):
            batch = recall(steps=100, seed=0, train=64, test=1, dtype=dtype).train
            net = recurrent(kind=kind, hidden=64, inputs=10, outputs=8, seed=0, dtype=dtype)
            written = gradient_by_lag(net, batch).inputs[0]
            worst = np.abs(input_gradient_by_lag(net, batch) / written - 1).max()
            print(f"| {kind} | {str(dtype)[6:]} | {worst:.1e} |")


if __name__ == "__main__":
    main()
