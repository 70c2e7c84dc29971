"""Runs too long for a lesson: a script here writes a record, which lessons read out of vglib.

A script has ``SETTINGS``, a list of dicts, and ``run(**settings)``, which returns numbers or lists
of numbers by name, and ends with ``records.fill(__file__, run, SETTINGS)``. A call that was stopped
goes on where it stopped. A record carries a key over its script, so a script that has changed makes
all its runs anew; tests/test_records.py checks the keys and runs a corner of each script again.
"""

import argparse
import json
import platform
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import joblib
from tqdm import tqdm

FOLDER = Path(__file__).resolve().parents[1] / "vglib" / "records"


def key(*files):
    """A short hash over the files that made a record: a script, and what else it takes in."""
    return sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:16]


def fill(script, run, settings, *, sources=(), path=None):
    """Run what the record of ``script`` lacks, and save it after each run.

    ``sources``: other files under the key. ``path``: of a record that is not for lessons.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    jobs = parser.parse_known_args()[0].jobs
    path = path or FOLDER / f"{Path(script).stem}.json"
    new = key(script, *sources)
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {"key": None}
    runs = kept["runs"] if kept["key"] == new else []
    done = [one["settings"] for one in runs]
    runs = [one for one in runs if one["settings"] in settings]
    missing = [one for one in settings if one not in done]
    content = {"key": new, "python": platform.python_version(), "torch": version("torch")}
    calls = (joblib.delayed(run)(**one) for one in missing)
    results = joblib.Parallel(n_jobs=jobs, return_as="generator")(calls)
    for one, values in zip(missing, tqdm(results, total=len(missing)), strict=True):
        runs.append({"settings": one, "values": values})
        lines = ",\n".join(json.dumps(each) for each in runs)
        head = json.dumps(content)[:-1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{head}, "runs": [\n{lines}\n]}}\n', "utf-8")
