"""What watching costs, every 10th step: python benchmarks/monitor_cost.py [--repeats 60]

Ratios of the time of 10 training steps to that of 10 plain ones, from interleaved runs, in one
thread. *again* is the plain loop once more, the control. The rivals take the norm of every
parameter's gradient at every 10th step (full backward hooks: of every module's output gradient).
"""

import argparse

import torch
from interleaved import ratios, row
from torch.nn import functional as F

from vglib.monitor import Monitor
from vglib.nets import convnet, mlp
from vglib.recurrent import recurrent
from vglib.tasks import digits

STEPS = 10


def cases():
    x, y = digits(dtype=torch.float32).train.sample(64, seed=0)
    noise = torch.randn(64, 100, 2, generator=torch.Generator().manual_seed(0))
    common = dict(activation="relu", init="he", seed=0, dtype=torch.float32)
    residual = dict(connection="residual", normalization="batch")
    lstm = dict(kind="lstm", hidden=64, inputs=2, outputs=10, seed=0, dtype=torch.float32)
    yield "MLP 20×64", mlp(depth=20, width=64, **common), x, y
    yield "MLP 50×256", mlp(depth=50, width=256, **common), x, y
    image = x.view(-1, 1, 8, 8)
    yield "residual convnet 12×16", convnet(depth=12, channels=16, **common, **residual), image, y
    yield "LSTM, 100 steps", recurrent(**lstm), noise, y


def variants(net, x, y):
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-5)
    parameters = list(net.parameters())

    def steps(after_first_backward=lambda: None):
        for step in range(STEPS):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            if step == 0:
                after_first_backward()
            optimizer.step()

    monitor = Monitor(net, every=STEPS)

    def monitored():
        with monitor:
            steps()

    def item_loop():
        steps(lambda: [p.grad.norm().item() for p in parameters])

    def foreach():
        norm = torch._foreach_norm
        steps(lambda: torch.stack(norm([p.grad for p in parameters])).tolist())

    def backward_hooks():
        norms = []
        leaves = [m for m in net.modules() if not list(m.children()) and list(m.parameters())]

        def hook(module, grad_in, grad_out):
            norms.append(grad_out[0].norm().item())

        handles = [m.register_full_backward_hook(hook) for m in leaves]

        def remove():
            for handle in handles:
                handle.remove()

        steps(remove)

    return {
        "plain": steps,
        "again": lambda: steps(),
        "Monitor": monitored,
        ".norm().item()": item_loop,
        "_foreach_norm": foreach,
        "full backward hooks": backward_hooks,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    header = None
    for label, net, x, y in cases():
        measured = ratios(variants(net, x, y), repeats=repeats)
        if header is None:
            header = "| model | " + " | ".join(measured) + " |"
            print(header + "\n" + "|---" * (len(measured) + 1) + "|")
        print(row(label, measured), flush=True)


if __name__ == "__main__":
    main()
