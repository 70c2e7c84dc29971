"""What the instrument measures of each set-up: python measure.py development|holdout|… [--only N]

Kept are its evidence (`vglib.diagnosis.Evidence`), with seed 0, in four digits, and 20 losses of
each run. From that the shipped judge is scored in a second (score.py), and each of its limits
tried at half and at twice its value (sensitivity.py), without training anything again.
"""

import math
import sys
import time
import traceback
from functools import partial

import label
import records
from baselines import settings
from setups import load

from vglib.diagnosis.experiments import Lab, gather, set_aside

VGLIB = label.HERE.parents[1] / "vglib"
SOURCES = [VGLIB / f"{name}.py" for name in ("layers", "numerics", "trace")]
SOURCES += [
    VGLIB / "diagnosis" / f"{name}.py"
    for name in ("changes", "evidence", "experiments", "look", "usage")
]
LOSSES = 20


def rounded(value):
    """Numbers in four digits, losses thinned, whatever holds them."""
    if isinstance(value, dict):
        if "losses" in value:
            losses = value["losses"]
            kept = losses[:: max(1, len(losses) // LOSSES)]
            value = value | {"losses": [*kept, *losses[-1:]]}
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.4g}")
    return value


def run(split, name, source, seed):
    """The evidence of one set-up, or the error."""
    began = time.perf_counter()
    model, loss_fn, batches, optimizer = load(split)[name].build(seed)
    try:
        with set_aside(seed):
            found = rounded(gather(Lab(model, loss_fn, batches, optimizer, seed)).plain())
    except Exception as error:
        traceback.print_exc()
        found = {"error": repr(error)[:300]}
    return {"seconds": round(time.perf_counter() - began, 1), "evidence": found}


def path(split):
    return label.HERE / "records" / f"evidence_{split}.json"


if __name__ == "__main__":
    split = sys.argv[1]
    first, *rest = SOURCES
    records.fill(first, partial(run, split), settings(split), sources=rest, path=path(split))
