"""What each limit of the judge is worth: python benchmarks/diagnosis/sensitivity.py [SPLIT …]

Each limit at half and at twice its value, the others as they are: F1 of any problem, false alarms
on healthy set-ups, causes right of the faults that were meant. From recorded evidence, in seconds.
"""

import sys
from dataclasses import asdict, replace

import score

from vglib.diagnosis import Limits


def counts(splits, limits):
    """(F1, false alarms, healthy set-ups, causes right, faults that were meant)."""
    rows = []
    for split in splits:
        known, said = score.truth(split), score.answers(split, limits=limits)
        rows += [(one, said[name]) for name, one in known.items() if one["label"] != "ambiguous"]
    problem = [one["label"] == "faulty" for one, _ in rows]
    alarm = [score.is_alarm(answer) for _, answer in rows]
    false = sum(a and not p for p, a in zip(problem, alarm, strict=True))
    meant = [(one, answer) for one, answer in rows if one["cause"]]
    right = sum(score.same_cause(one["cause"], answer["cause"]) for one, answer in meant)
    return float(score.f1(problem, alarm)), false, problem.count(False), right, len(meant)


def main(*splits):
    print("| limit | value | F1 | false alarms | cause right |\n|---|---|---|---|---|")
    base = Limits()
    for name, value in [("as they are", None), *asdict(base).items()]:
        for factor in (0.5, 2) if value else (1,):
            changed = replace(base, **{name: value * factor}) if value else base
            f1, false, healthy, right, meant = counts(splits, changed)
            said = "" if value is None else f"{value * factor:.3g}"
            print(f"| {name} | {said} | {f1:.3f} | {false} of {healthy} | {right} of {meant} |")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["development"]))
