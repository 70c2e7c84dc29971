"""Networks that do not train, and what was tried on each, for frontier/case_studies.

    python benchmarks/case_studies.py

Each network tries the same rates on a seed that is judged nowhere, and two beyond while the best is
at the edge; five are trained at the best. Nothing is searched in the case of the report.
"""

import records
import torch

from vglib.experiments.case_studies import (
    CASES,
    JUDGED,
    TUNING,
    arrives,
    changes,
    rates,
    trained,
)
from vglib.experiments.rates import Search, search

SETTINGS = [dict(case=case, name=name) for case in CASES for name in changes(case)]


def run(case, name):
    """The rate, what five networks told right, and how much gradient arrived before."""
    torch.set_num_threads(1)
    found = searched(case, name)
    result = trained(case, name, found.best, JUDGED)
    return {
        "rate": found.best,
        "at_edge": bool(found.at_edge),
        "right": [round(share, 4) for share in result["right"]],
        "arrives": [float(f"{share:.3g}") for share in arrives(case, name, JUDGED)],
    }


def searched(case, name):
    """The search, which goes on beyond the edge at most twice."""
    scores, tried = {}, rates(case, name)
    if len(tried) == 1:
        return Search({tried[0]: 0.0})
    for _ in range(3):
        scores |= search(
            tried,
            lambda rate: trained(case, name, rate, [TUNING]),
            lambda one: (-one["right"][0], one["loss"][0]),
        ).scores
        found = Search(scores)
        if not found.at_edge:
            break
        tried = [found.best * 3 if found.best == max(scores) else found.best / 3]
    return found


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
