"""Records of long runs: made by the scripts that are here now, and made again in a corner."""

import json

import degradation
import long_lags
import pytest
import records

from vglib.claims import recorded

NAMES = sorted(path.stem for path in records.FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_complete_and_its_script_has_not_changed(root, name):
    script = root / "benchmarks" / f"{name}.py"
    kept = json.loads((records.FOLDER / f"{name}.json").read_text("utf-8"))
    assert kept["key"] == records.key(script), f"run python benchmarks/{name}.py again"
    assert kept["runs"] == recorded(name)


def test_a_record_grows_run_by_run_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "FOLDER", tmp_path / "records")
    monkeypatch.setattr("sys.argv", ["script"])
    script = tmp_path / "script.py"
    script.write_text("first version")
    ran = []

    def run(depth):
        ran.append(depth)
        if depth == 3:
            raise KeyboardInterrupt
        return {"twice": 2 * depth}

    with pytest.raises(KeyboardInterrupt):
        records.fill(script, run, [{"depth": 1}, {"depth": 3}])
    records.fill(script, run, [{"depth": 2}, {"depth": 1}])
    kept = json.loads((tmp_path / "records" / "script.json").read_text())["runs"]
    assert ran == [1, 3, 2]
    assert [(one["settings"], one["values"]) for one in kept] == [
        ({"depth": 1}, {"twice": 2}),
        ({"depth": 2}, {"twice": 4}),
    ]
    script.write_text("second version")
    records.fill(script, run, [{"depth": 1}])
    assert ran == [1, 3, 2, 1]


def test_a_corner_of_degradation():
    settings = dict(depth=8, kind="batch norm", way="plain", epochs=5)
    kept = next(one["values"] for one in recorded("degradation") if one["settings"] == settings)
    again = degradation.run(**settings)
    # Before the first step only rounding differs; training for 55 steps spreads it.
    assert [r[0] for r in again["ratios"]] == pytest.approx([r[0] for r in kept["ratios"]], 0.01)
    assert sorted(again["errors"])[2] == pytest.approx(sorted(kept["errors"])[2], abs=0.02)
    assert again["rate"] in (0.03, 0.1, 0.3)  # a step on the grid to either side
    assert kept["rate"] == 0.1


def test_a_run_of_long_lags_comes_out_again():
    wanted = dict(contender="LSTM, chrono", task="recall", lag=20, seed=0)
    (one,) = [one for one in recorded("long_lags") if wanted.items() <= one["settings"].items()]
    again, kept = long_lags.run(**one["settings"]), one["values"]
    # Rounding differs between processors, and the score is looked at every 50 steps.
    assert abs(again["steps"] - kept["steps"]) <= 100
    assert min(again["test_score"], kept["test_score"]) > 0.95


def test_long_lags_has_every_run_at_the_best_rate_of_its_grid():
    settings = [one["settings"] for one in recorded("long_lags")]
    wanted = long_lags.GRID + long_lags.compared(recorded("long_lags"))
    assert len(settings) == len(wanted)
    assert all(one in settings for one in wanted)
