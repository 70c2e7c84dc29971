"""Scores of the rules, of other tools and of `vglib.diagnose`, side by side on one split.

    python benchmarks/diagnosis/score.py SPLIT [frozen | freeze COMMIT]

A split is development, strangers, holdout, second_holdout or public. The judge of today is put to
the evidence that measure.py keeps, taken with seed 0, as the rules were. With `frozen`, the answers
are those of an instrument that was frozen before it met a hold-out (`freeze` keeps them): of commit
a650881 for development and holdout, of ba6283e for second_holdout, of 7b3d036 for public. Each was
mended afterwards in the light of what it got wrong, so that only the frozen scores are clean.

An alarm is a verdict of "gradient" or "other"; an abstention is none. Ambiguous set-ups are left
out. An interval at a share is Wilson's, at a difference of F1 from a paired bootstrap over set-ups;
both 95 %.
"""

import json
import sys
import time
from pathlib import Path

import baselines
import label
import measure
import numpy as np
import torchmortem_alarms
from scipy import stats
from setups import load

from vglib.diagnosis import LIMITS, SAID, Evidence, judge, mended

LOSS = "loss alone"
ALWAYS = "an alarm at everything"  # what can be had without any information


# Truth and predictions ---------------------------------------------------------------------------


def read(path):
    return json.loads(Path(path).read_text("utf-8"))["runs"]


def by_name(path):
    """What a record with one run for each set-up holds, by set-up."""
    return {one["settings"]["name"]: one["values"] for one in read(path)}


def truth(split):
    """By name: label, and for a fault that its author meant, kind, cause and where."""
    runs = read(label.path(split))
    known = {}
    for name, setup in load(split).items():
        found = label.label([one for one in runs if one["settings"]["name"] == name])
        meant = found == "faulty" and setup.kind != "healthy"
        known[name] = {
            "label": found,
            "agrees": found == ("healthy" if setup.kind == "healthy" else "faulty"),
            "family": setup.family,
            "kind": setup.kind if meant else found,
            "cause": setup.cause if meant else None,
            "where": setup.where if meant else None,
        }
    return known


def plain(where):
    """Names of modules as a list, or ["lag", low, high] for a range of lags."""
    if where is None:
        return None
    if isinstance(where, range):
        return ["lag", where.start, where.stop - 1]
    if isinstance(where, str):
        return [where]
    return list(where)


def diagnosis(instrument, split, name, source, seed):
    """One call of the instrument; an error counts as an abstention, and is listed."""
    began = time.perf_counter()
    model, loss_fn, batches, optimizer = load(split)[name].build(seed)
    try:
        found = instrument(model, loss_fn, batches, optimizer=optimizer, seed=seed)
        values = {"verdict": found.verdict, "cause": found.cause, "where": plain(found.where)}
    except Exception as error:
        values = {"verdict": "error", "cause": None, "where": None, "error": repr(error)[:300]}
    return {**values, "seconds": round(time.perf_counter() - began, 1)}


def right_place(wanted, given):
    """The first module named is one wanted, or inside it; or the ranges of lags overlap."""
    if not given:
        return False
    if wanted[0] == "lag":
        return given[0] == "lag" and given[1] <= wanted[2] and wanted[1] <= given[2]
    return any(given[0] == name or given[0].startswith(f"{name}.") for name in wanted)


# Scores ------------------------------------------------------------------------------------------


def share(hits, total):
    """ "0.91 [0.80, 0.97] (41/45)", with Wilson's interval."""
    if not total:
        return "none"
    low, high = stats.binomtest(hits, total).proportion_ci(method="wilson")
    return f"{hits / total:.2f} [{low:.2f}, {high:.2f}] ({hits}/{total})"


def f1(problem, alarm, axis=-1):
    """2 TP / (problems + alarms); 0 where there is neither."""
    both = np.logical_and(problem, alarm).sum(axis=axis)
    return 2 * both / np.maximum(np.sum(problem, axis=axis) + np.sum(alarm, axis=axis), 1)


def f1_difference(problem, ours, theirs):
    """F1 of ours less theirs, and its 95 % interval."""

    def difference(problem, ours, theirs, axis=-1):
        return f1(problem, ours, axis) - f1(problem, theirs, axis)

    data = tuple(np.array(one, dtype=bool) for one in (problem, ours, theirs))
    found = stats.bootstrap(
        data, difference, paired=True, vectorized=True, method="percentile", random_state=0
    )
    return difference(*data), found.confidence_interval.low, found.confidence_interval.high


def row(name, problem, alarm):
    problem, alarm = np.array(problem, dtype=bool), np.array(alarm, dtype=bool)
    both = int((problem & alarm).sum())
    return (
        f"{name:37} F1 {f1(problem, alarm):.2f}  precision {share(both, int(alarm.sum()))}  "
        f"recall {share(both, int(problem.sum()))}"
    )


def recurrent_vanishing(one):
    vanishing = one["kind"] == "gradient" and one["cause"] != "explosion"
    return vanishing and one["family"] == "recurrent"


def same_cause(one, other):
    """Slope and weights are two descriptions of one network, and so one cause."""
    return SAID.get(one, one) == SAID.get(other, other)


def is_alarm(said):
    """Whether an answer of the instrument says that something is wrong."""
    return said["verdict"] in ("gradient", "other")


def report(known, alarmed, diagnoses):
    """Lines of text. ``known``: of `truth`. ``alarmed``: by set-up, which rules raised an alarm.
    ``diagnoses``: by set-up, verdict, cause and where."""
    labels = [one["label"] for one in known.values()]
    counts = {kind: labels.count(kind) for kind in ("healthy", "faulty", "ambiguous")}
    disagree = [
        name for name, one in known.items() if one["label"] != "ambiguous" and not one["agrees"]
    ]
    yield f"{len(labels)} set-ups: {counts}; the training contradicts the author in {disagree}"
    names = [name for name, one in known.items() if one["label"] != "ambiguous"]
    sound = [name for name in names if known[name]["label"] == "healthy"]
    forgetful = [name for name in names if recurrent_vanishing(known[name])]
    rules = list(alarmed[names[0]])
    alarms = {rule: [alarmed[name][rule] for name in names] for rule in rules}
    paths = dict(alarms)
    alarms["diagnose"] = [is_alarm(diagnoses[name]) for name in names]
    paths["diagnose"] = [diagnoses[name]["verdict"] == "gradient" for name in names]
    targets = {
        "any problem": ([known[name]["label"] == "faulty" for name in names], alarms),
        "the gradient path": ([known[name]["kind"] == "gradient" for name in names], paths),
    }
    for target, (problem, given) in targets.items():
        yield f"\n{target}:"
        for rule, alarm in given.items():
            yield row(rule, problem, alarm)
        yield "F1 of diagnose less that of"
        for rule in rules:
            found, low, high = f1_difference(problem, given["diagnose"], given[rule])
            yield f"  {rule:35} {found:+.2f} [{low:+.2f}, {high:+.2f}]"
    yield "\nfalse alarms on healthy set-ups; recurrent vanishing that raised an alarm:"
    for rule, alarm in alarms.items():
        given = dict(zip(names, alarm, strict=True))
        false = share(sum(given[name] for name in sound), len(sound))
        caught = share(sum(given[name] for name in forgetful), len(forgetful))
        yield f"{rule:37} {false}; {caught}"
    yield from details(known, names, diagnoses)


def details(known, names, diagnoses):
    """What only the instrument says: kind, cause, where; and all that it got wrong."""
    meant = [name for name in names if known[name]["cause"]]
    placed = [name for name in meant if known[name]["where"]]
    forgetful = [name for name in names if recurrent_vanishing(known[name])]

    def count(chosen, right):
        return share(sum(map(right, chosen)), len(chosen))

    def kind(name):
        return diagnoses[name]["verdict"] == known[name]["kind"]

    def cause(name):
        return same_cause(diagnoses[name]["cause"], known[name]["cause"])

    def where(name):
        return right_place(known[name]["where"], diagnoses[name]["where"])

    def alarmed(name):
        return is_alarm(diagnoses[name])

    lags = [name for name in placed if known[name]["where"][0] == "lag"]
    layers = [name for name in placed if name not in lags]
    others = [name for name in meant if known[name]["kind"] == "other"]
    yield "\ndiagnose:"
    yield f"recurrent vanishing called gradient {count(forgetful, kind)}"
    yield f"faults not the gradient's called other {count(others, kind)}"
    for text, chosen in {"faults": meant, "faults alarmed at": [*filter(alarmed, meant)]}.items():
        yield f"cause right, of {text} {count(chosen, cause)}"
    strictly = [diagnoses[name]["cause"] == known[name]["cause"] for name in meant]
    yield f"… with activation and weight scale as two {share(sum(strictly), len(meant))}"
    blamed = [name for name in names if diagnoses[name]["verdict"] == "gradient"]
    mended = [diagnoses[name].get("mended", False) for name in blamed]
    yield f"gradient verdicts whose remedy was tried and trains {share(sum(mended), len(blamed))}"
    for text, chosen in {"layer": layers, "lags": lags}.items():
        yield f"{text} right, of faults {count(chosen, where)}"
        yield f"{text} right, of faults alarmed at {count([*filter(alarmed, chosen)], where)}"
    yield "\nset-up: known -> said"
    for name in names:
        one, said = known[name], diagnoses[name]
        misplaced = name in placed and not where(name)
        if one["kind"] != said["verdict"] or not cause(name) or misplaced:
            told = [said[key] for key in ("verdict", "cause", "where")]
            yield f"{name}: {[one[key] for key in ('kind', 'cause', 'where')]} -> {told}"
            if "error" in said:
                yield f"  {said['error']}"


def answers(split, **more):
    """What the judge says of the recorded evidence of each set-up; ``more``: other limits."""
    said = {}
    for name, values in by_name(measure.path(split)).items():
        if "error" in values["evidence"]:
            error = values["evidence"]["error"]
            said[name] = {"verdict": "error", "cause": None, "where": None, "error": error}
        else:
            evidence = Evidence.read(values["evidence"])
            found = judge(evidence, **more)
            trains = evidence.learnt(mended(evidence, found)) >= LIMITS.some
            said[name] = {
                "verdict": found.verdict,
                "cause": found.cause,
                "where": plain(found.where),
                "mended": bool(trains),
            }
    return said


def path(split, version="frozen"):
    """Where the answers of an earlier instrument are kept."""
    return label.HERE / "records" / f"{version}_{split}.json"


def fired(split):
    """By set-up, which rules and other tools raise an alarm."""
    found = {name: rules | {ALWAYS: True} for name, rules in by_name(baselines.path(split)).items()}
    if torchmortem_alarms.path(split).exists():
        for name, alarms in by_name(torchmortem_alarms.path(split)).items():
            worst = {f"torchmortem, {kind}": alarms[kind] for kind in ("warning", "critical")}
            found[name] |= worst
    return found


def freeze(split, commit):
    """Keep today's answers as those of the instrument that was frozen at a commit."""
    runs = [
        {"settings": {"name": name}, "values": values} for name, values in answers(split).items()
    ]
    lines = ",\n".join(map(json.dumps, runs))
    path(split).write_text(f'{{"key": "{commit}", "runs": [\n{lines}\n]}}\n', "utf-8")


def main(split, version="", commit=""):
    if version == "freeze":
        freeze(split, commit)
    said = by_name(path(split)) if version else answers(split)
    print("\n".join(report(truth(split), fired(split), said)))


if __name__ == "__main__":
    main(*sys.argv[1:])
