"""How often the instrument is right, for the book: python benchmarks/diagnosis_scores.py

Counts from the records of `benchmarks/diagnosis`, of the third hold-out: the answers of the frozen
instrument, of the loss alone and of published tools, beside what training says.
"""

import sys
from pathlib import Path

import records

sys.path.append(str(Path(__file__).parent / "diagnosis"))
import score

RULES = {
    "loss alone": score.LOSS,
    "VanishingGradient": "SageMaker VanishingGradient",
    "DeepDiagnosis": "DeepDiagnosis, all five",
    "torchmortem": "torchmortem, critical",
    "always": score.ALWAYS,
}
SETTINGS = [{"split": "public"}]


def run(split):
    """Counts of set-ups, alarms and right answers in one split."""
    known = {n: one for n, one in score.truth(split).items() if one["label"] != "ambiguous"}
    fired, said = score.fired(split), score.by_name(score.path(split))
    faulty = [name for name in known if known[name]["label"] == "faulty"]
    healthy = [name for name in known if name not in faulty]
    alarms = {rule: {n for n in known if fired[n].get(of, True)} for rule, of in RULES.items()}
    alarms["diagnose"] = {n for n in known if score.is_alarm(said[n])}
    problem = [name in faulty for name in known]
    ours = [name in alarms["diagnose"] for name in known]
    theirs = [name in alarms["loss alone"] for name in known]
    gain, low, high = score.f1_difference(problem, ours, theirs)
    meant = [name for name in faulty if known[name]["cause"]]
    placed = [name for name in meant if known[name]["where"]]
    blamed = [name for name in known if said[name]["verdict"] == "gradient"]
    return {
        "faulty": len(faulty),
        "healthy": len(healthy),
        "caught": {rule: len(found & set(faulty)) for rule, found in alarms.items()},
        "false alarms": {rule: len(found & set(healthy)) for rule, found in alarms.items()},
        "F1 over the loss alone": [gain, low, high],
        "meant": len(meant),
        "causes right": sum(
            score.same_cause(said[name]["cause"], known[name]["cause"]) for name in meant
        ),
        "placed": len(placed),
        "places right": sum(
            score.right_place(score.plain(known[name]["where"]), said[name]["where"])
            for name in placed
        ),
        "blamed": len(blamed),
        "mended": sum(said[name]["mended"] for name in blamed),
    }


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
