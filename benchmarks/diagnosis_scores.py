"""How often the instrument is right, for the book: python benchmarks/diagnosis_scores.py

Counts from the records of `benchmarks/diagnosis`: the answers of the frozen instrument, of the loss
alone and of a published rule, beside what training says.
"""

import sys
from pathlib import Path

import records

sys.path.append(str(Path(__file__).parent / "diagnosis"))
import baselines
import score

RULES = {"loss alone": score.LOSS, "VanishingGradient": "SageMaker VanishingGradient"}
SETTINGS = [{"split": split} for split in ("development", "holdout", "second_holdout")]


def run(split):
    """Counts of set-ups, alarms and right answers in one split."""
    known = {n: one for n, one in score.truth(split).items() if one["label"] != "ambiguous"}
    fired = score.by_name(baselines.path(split))
    said = score.by_name(score.path(split, "frozen"))
    faulty = [name for name in known if known[name]["label"] == "faulty"]
    healthy = [name for name in known if name not in faulty]
    alarms = {rule: {n for n in known if fired[n][name]} for rule, name in RULES.items()}
    alarms["diagnose"] = {n for n in known if score.is_alarm(said[n])}
    problem = [name in faulty for name in known]
    ours = [name in alarms["diagnose"] for name in known]
    theirs = [name in alarms["loss alone"] for name in known]
    gain, low, high = score.f1_difference(problem, ours, theirs)
    vanishing = [name for name in faulty if score.recurrent_vanishing(known[name])]
    layers = [n for n in faulty if known[n]["where"] and known[n]["where"][0] != "lag"]
    return {
        "faulty": len(faulty),
        "healthy": len(healthy),
        "caught": {rule: len(found & set(faulty)) for rule, found in alarms.items()},
        "false alarms": {rule: len(found & set(healthy)) for rule, found in alarms.items()},
        "F1 over the loss alone": [gain, low, high],
        "recurrent vanishing": len(vanishing),
        "recurrent vanishing caught": {
            rule: len(found & set(vanishing)) for rule, found in alarms.items()
        },
        "causes right": sum(said[name]["cause"] == known[name]["cause"] for name in faulty),
        "layers": len(layers),
        "layers right": sum(
            score.right_place(known[name]["where"], said[name]["where"]) for name in layers
        ),
    }


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
