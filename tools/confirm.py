"""Confirm verdicts: run lessons once at five base seeds that nobody has used, and keep the answers.

    python -m tools.confirm [LESSON …]

To be run when rules are settled and committed. Without names it runs each lesson that has a claim
whose rule, as it stands, was not yet run so. All claims of a lesson share the base seeds, the first
five from 101 on that none of them has used. The answers go to book/confirmations.json, after each
base seed, to be committed as they are. A run that was cut off goes on where it stopped. No base
seed is used twice, also not after an error; so a rule that is run again is judged by all its runs.
Exits with 1 if a claim of these lessons is not confirmed.
"""

import argparse
import datetime
import json
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256

import joblib
import nbformat

from tools import lessons as tool
from tools.reseed import KEPT_FOR_CONFIRMATION, at_seed, chosen, verdicts
from vglib import claims

RECORD = "book/confirmations.json"
AT_ONCE = 5  # base seeds
JOBS = -1  # runs at the same time: as many as there are cores
NOT_YET = "Not yet run at base seeds that nobody has used."
FROM = {"C1": 106, "C2": 106, "C7": 106}  # a prototype of theirs used 101 to 105
DECIDES = (  # the fields of a rule that an answer depends on
    *("kind", "quantity", "at_least", "at_most", "also", "control", "ill", "healthy"),
    *("recall_at_least", "false_alarms_at_most", "usual", "stress", "more_than", "less_than"),
)


def rule_hash(rule):
    """A short hash of what decides in a rule: of its words the quantity's, not the answer's."""
    fields = [getattr(rule, name) for name in DECIDES]
    # In which order settings are listed decides nothing.
    fields = [sorted(field) if isinstance(field, tuple) else field for field in fields]
    how = [claims.SEEDS_NEEDED, claims.AGREEMENT]
    return sha256(json.dumps([fields, how]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Confirmation:
    """Whether a verdict came out the same at fresh base seeds."""

    confirmed: bool | None  # None where its rule, as it stands, was not run at five of them
    why: str  # in a sentence or two
    seeds: tuple = ()  # the base seeds at which the rule, as it stands, was run
    differing: dict | None = None  # setting → base seed → answer, where another than at base seed 0

    @property
    def otherwise(self):
        """The settings that answered otherwise than at base seed 0, in a sentence or none."""
        if not self.differing:
            return ""
        settings = [f"{name} ({_listed(seeds)})" for name, seeds in self.differing.items()]
        return f"Settings that answered otherwise: {'; '.join(settings)}."


def confirmation(verdict, record):
    """Whether ``record`` confirms ``verdict``, both as plain data: `as_json`, confirmations.json.

    Confirmed is the same answer in a word in the usual settings at five base seeds or more, and no
    other one at any. That of a rule which comes out of a record is not, as no base seed changes it.
    """
    name, wanted = verdict["claim"], verdict["usual"]
    rule = claims.rule(name)
    entries = [entry for entry in record.get(name, []) if entry["rule"] == rule_hash(rule)]
    if not entries:
        changed = "Its rule was changed after it was run at fresh base seeds."
        return Confirmation(None, changed if record.get(name) else NOT_YET)
    runs = {int(seed): run for entry in entries for seed, run in entry["runs"].items()}
    differing = {}
    for seed, run in runs.items():
        for setting, answer in run["otherwise"].items():
            differing.setdefault(setting, {})[seed] = answer
    about = {"seeds": tuple(runs), "differing": differing}
    if set(rule.usual or rule.stress) <= set(rule.recorded):
        return Confirmation(None, "It is from a record, which no base seed changes.", **about)
    other = {seed: run["usual"] for seed, run in runs.items() if run["usual"] not in (wanted, None)}
    failed = [seed for seed, run in runs.items() if run["usual"] is None]
    same = [seed for seed in runs if seed not in other and seed not in failed]
    if other:
        said = "; ".join(f"{answer} at base seed {seed}" for seed, answer in other.items())
        confirmed, why = False, f"For the usual settings the answer is {wanted} here, but {said}."
    elif len(same) >= AT_ONCE:
        confirmed, why = True, f"The same in the usual settings at base seeds {_listed(same)}."
    elif failed:
        confirmed, why = False, "Not all runs came to an answer."
    else:
        confirmed, why = None, f"So far run at {len(runs)} of {AT_ONCE} fresh base seeds."
    if failed:
        why += f" No answer at base seed {_listed(failed)}."
    return Confirmation(confirmed, why, **about)


def _listed(seeds):
    """Seeds in words: 101 to 105, or one by one."""
    seeds = sorted(seeds)
    if len(seeds) > 2 and seeds == [*range(seeds[0], seeds[-1] + 1)]:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def read():
    """What book/confirmations.json says: claim → its entries, oldest first."""
    return json.loads((tool.ROOT / RECORD).read_text(encoding="utf-8"))


def write(record):
    part = tool.ROOT / "_build" / "confirmations.part"  # a cut while writing must lose nothing
    part.parent.mkdir(exist_ok=True)
    part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(tool.ROOT / RECORD)


def git(*arguments):
    """What git says of everything but the record, which a confirmation itself changes."""
    command = ["git", "-C", str(tool.ROOT), *arguments, "--", ".", f":(exclude){RECORD}"]
    return subprocess.check_output(command, text=True)


def is_complete(entry):
    return len(entry["runs"]) == len(entry["seeds"])


def is_run(name, record):
    """Whether the rule of a claim, as it stands, was run at fresh base seeds."""
    now = rule_hash(claims.rule(name))
    return any(entry["rule"] == now and is_complete(entry) for entry in record.get(name, []))


def open_entries(lesson, stored, record, commit):
    """An entry for each claim of a lesson: those of a run that was cut off, or new ones."""
    last = [record[name][-1] for name in stored if record.get(name)]
    if len(last) == len(stored) and all(
        (entry["lesson"], entry["commit"]) == (lesson, commit) and not is_complete(entry)
        for entry in last
    ):
        return dict(zip(stored, last, strict=True))
    used = [
        max(entry["seeds"])
        for name, entries in record.items()
        for entry in entries
        if name in stored or entry["lesson"] == lesson
    ]
    unused = [seed + 1 for seed in used]
    unused += [FROM.get(name.partition("/")[0], KEPT_FOR_CONFIRMATION) for name in stored]
    entries = {}
    for name, verdict in stored.items():
        entries[name] = {
            "lesson": lesson,
            "commit": commit,
            "date": datetime.date.today().isoformat(),
            "rule": rule_hash(claims.rule(name)),
            "usual": verdict["usual"],  # at base seed 0
            "seeds": [max(unused) + i for i in range(AT_ONCE)],
            "runs": {},
        }
        record.setdefault(name, []).append(entries[name])
    return entries


def otherwise(found, stored):
    """The settings of a verdict whose answer is another one than in the stored verdict."""
    was = {condition["name"]: condition["answer"] for condition in stored["conditions"]}
    answers = {condition["name"]: condition["answer"] for condition in found["conditions"]}
    return {name: answer for name, answer in answers.items() if answer != was[name]}


def confirm(lesson, path, commit):
    """Run a lesson at its next base seeds; each is written down when it is through."""
    stored = verdicts(nbformat.read(path, as_version=4))
    record = read()
    entries = open_entries(lesson, stored, record, commit)
    seeds, done = next((entry["seeds"], entry["runs"]) for entry in entries.values())
    left = [seed for seed in seeds if str(seed) not in done]
    calls = [joblib.delayed(at_seed)(path, seed) for seed in left]
    results = joblib.Parallel(n_jobs=JOBS, prefer="threads", return_as="generator")(calls)
    for seed, (found, errors) in zip(left, results, strict=True):
        for name, entry in entries.items():
            run = {"usual": None, "otherwise": {}}
            if name in found:
                run = {"usual": found[name]["usual"]}
                run["otherwise"] = otherwise(found[name], stored[name])
            entry["runs"][str(seed)] = run | ({"errors": errors} if errors else {})
            print(f"{lesson} base seed {seed} {name}: {run['usual'] or 'no answer'}", flush=True)
        write(record)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="LESSON")
    arguments = parser.parse_args()
    paths = chosen(parser, arguments.names)
    if uncommitted := git("status", "--porcelain", "--untracked-files=all"):
        parser.error(f"what is confirmed must be committed; this is not:\n{uncommitted}")
    notebooks = {name: nbformat.read(path, as_version=4) for name, path in paths.items()}
    if stale := [name for name, notebook in notebooks.items() if not tool.is_fresh(notebook)]:
        parser.error(f"stored outputs are stale, run `make lessons`: {', '.join(stale)}")
    stored = {name: verdicts(notebook) for name, notebook in notebooks.items()}
    stored = {name: found for name, found in stored.items() if found}
    if none := [name for name in arguments.names if name not in stored]:
        parser.error(f"lesson {none[0]!r} stores no verdict")
    commit = git("log", "-1", "--format=%H").strip()
    for name, found in stored.items():
        if arguments.names or not all(is_run(claim, read()) for claim in found):
            confirm(name, paths[name], commit)
    fine = True
    for name, found in stored.items():
        for claim, verdict in found.items():
            result = confirmation(verdict, read())
            fine = fine and result.confirmed
            word = {True: "confirmed", False: "not confirmed", None: "open"}[result.confirmed]
            print(f"{name} {claim}: {word}. {result.why} {result.otherwise}")
    sys.exit(not fine)


if __name__ == "__main__":
    main()
