"""What ∂L/∂x_t by lag costs through fused modules: python benchmarks/lag_cost.py

Ratios to a forward and a backward pass, from interleaved runs in one thread; 100 steps, hidden 64.
"""

import torch
from interleaved import ratios, row
from torch.nn import functional as F

from vglib.probes import input_gradient_by_lag
from vglib.recurrent import recurrent
from vglib.tasks import recall


def main():
    torch.set_num_threads(1)
    batch = recall(steps=100, seed=0, train=64, test=1, dtype=torch.float32).train
    print("| kind | plain | again | ∂L/∂x_t by lag |\n|---|---|---|---|")
    for kind in ("rnn", "lstm", "gru"):
        keywords = dict(hidden=64, inputs=10, outputs=8, seed=0, dtype=torch.float32)
        net = recurrent(kind=kind, **keywords)

        def plain(net=net):
            F.cross_entropy(net(batch.inputs), batch.targets).backward()

        def probe(net=net):
            input_gradient_by_lag(net, batch)

        variants = {"plain": plain, "again": lambda: plain(), "probe": probe}
        print(row(kind, ratios(variants, repeats=60)), flush=True)


if __name__ == "__main__":
    main()
