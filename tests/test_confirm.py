"""Confirmation at fresh base seeds, with made-up lessons: what is kept, and what it says."""

import dataclasses
import json
import subprocess

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import confirm, reseed
from tools import lessons as tool
from vglib import claims
from vglib.claims import VERDICT_MIME, Rule, all_claims, decide, rule

FIELDS = dict(wording="A is B.", short="A is B", kind="always", quantity="share", says="It is.")
FIELDS |= dict(at_least=0.5, because="It is half.", usual=["a", "b"], stress=["c"])
LESSONS = {"causes/depth": ["C1", "C3"], "causes/time": ["C10"]}
TRUE, FALSE = [0.9] * 5, [0.1] * 5


def outputs(lesson, measured):
    """The outputs of a lesson: a verdict on each of its claims."""
    found = [decide(name, measured)._repr_mimebundle_()[0] for name in LESSONS[lesson]]
    return [new_output("display_data", data) for data in found]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two lessons, committed; ``course.at`` says what comes out at a base seed."""
    entries = {name: dict(FIELDS) for names in LESSONS.values() for name in names}
    monkeypatch.setattr(claims, "all_claims", lambda: entries)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr("tools.confirm.JOBS", 1)
    monkeypatch.setattr(tool, "is_fresh", lambda notebook: "stale" not in notebook.metadata)
    for lesson in LESSONS:
        path = tmp_path / "lessons" / f"{lesson}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = outputs(lesson, {"a": TRUE, "b": TRUE, "c": TRUE})
        nbformat.write(new_notebook(cells=[new_code_cell(lesson, outputs=stored)]), path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "confirmations.json").write_text("{}")
    (tmp_path / ".gitignore").write_text("_build\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(tmp_path)

    class Course:
        root, claims, at, runs = tmp_path, entries, {}, []

        def run(self, notebook, *, seed, **keywords):
            lesson = notebook.cells[0].source
            self.runs.append((lesson, seed))
            outcome = self.at.get(seed, {})
            if isinstance(outcome, BaseException):
                raise outcome
            measured = {"a": TRUE, "b": TRUE, "c": TRUE} | outcome
            notebook.cells[0].outputs = outputs(lesson, measured)

        def confirm(self, *names):
            """Runs the tool; returns its exit code."""
            monkeypatch.setattr("sys.argv", ["confirm", *names])
            with pytest.raises(SystemExit) as stopped:
                confirm.main()
            return stopped.value.code

        def seeds(self, lesson):
            return [seed for name, seed in self.runs if name == lesson]

        def result(self, name="C10"):
            verdict = decide(name, {"a": TRUE, "b": TRUE, "c": TRUE}).as_json()
            return confirm.confirmation(verdict, confirm.read())

    course = Course()
    monkeypatch.setattr(reseed, "run", course.run)
    return course


def commit(folder):
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", *me, "commit", "-qm", "All"], cwd=folder, check=True)


def edit(course, text):
    """Commit a change of something that is no rule."""
    (course.root / "README.md").write_text(text)
    commit(course.root)


def test_nothing_is_confirmed_before(course):
    result = course.result()
    assert (result.confirmed, result.why) == (None, confirm.NOT_YET)


def test_the_same_answer_at_five_fresh_base_seeds_confirms(course):
    assert not course.confirm("causes/time")
    assert course.seeds("causes/time") == [101, 102, 103, 104, 105]
    result = course.result()
    assert (result.confirmed, result.seeds) == (True, (101, 102, 103, 104, 105))
    assert result.why == "The same in the usual settings at base seeds 101 to 105."
    assert result.otherwise == ""
    (entry,) = confirm.read()["C10"]
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=course.root, text=True)
    assert entry["commit"] == head.strip()
    assert (entry["lesson"], entry["usual"]) == ("causes/time", "yes")
    assert entry["runs"]["101"] == {"usual": "yes", "otherwise": {}}


def test_what_a_prototype_used_is_left_out_for_all_claims_of_its_lesson(course):
    course.confirm("causes/depth")
    assert course.seeds("causes/depth") == [106, 107, 108, 109, 110]
    record = confirm.read()
    assert record["C1"][0]["seeds"] == record["C3"][0]["seeds"] == [106, 107, 108, 109, 110]
    assert "C10" not in record


@pytest.mark.parametrize("name", ["C1", "C2", "C7"])
def test_three_claims_start_at_106(name, monkeypatch):
    monkeypatch.setattr(claims, "all_claims", lambda: {name: FIELDS})
    entries = confirm.open_entries("a/b", {name: {"usual": "yes"}}, {}, "abc")
    assert entries[name]["seeds"] == [106, 107, 108, 109, 110]


def test_base_seeds_that_a_claim_used_which_has_left_the_lesson_stay_used(course):
    record = {"C10": [{"lesson": "a/b", "seeds": [101, 102], "runs": {}}]}
    entries = confirm.open_entries("a/b", {"C3": {"usual": "yes"}}, record, "abc")
    assert entries["C3"]["seeds"][0] == 103


def test_another_answer_at_any_of_them_does_not_and_settings_are_named(course):
    course.at = {103: {"b": FALSE, "c": FALSE}, 104: {"c": FALSE}}
    assert course.confirm("causes/time") == 1
    result = course.result()
    assert result.confirmed is False
    assert result.differing == {"b": {103: "false"}, "c": {103: "false", 104: "false"}}
    assert "the answer is yes here, but it depends at base seed 103." in result.why
    assert result.otherwise == "Settings that answered otherwise: b (103); c (103, 104)."


def test_a_setting_under_stress_is_named_and_decides_nothing(course):
    course.at = {103: {"c": FALSE}}
    assert not course.confirm("causes/time")
    assert course.result().confirmed is True
    assert course.result().differing == {"c": {103: "false"}}


def test_a_rule_that_was_changed_is_no_longer_confirmed(course):
    course.confirm("causes/time")
    course.claims["C10"]["says"] = "It is so indeed."
    assert course.result().confirmed is True
    course.claims["C10"]["at_least"] = 0.4
    result = course.result()
    assert result.confirmed is None
    assert result.why == "Its rule was changed after it was run at fresh base seeds."
    edit(course, "another rule")
    course.confirm("causes/time")
    assert course.seeds("causes/time")[5:] == [106, 107, 108, 109, 110]
    assert course.result().confirmed is True
    assert course.result().seeds == (106, 107, 108, 109, 110)


def test_another_answer_at_base_seed_0_since_then_is_not_confirmed(course):
    course.confirm("causes/time")
    verdict = decide("C10", {"a": FALSE, "b": FALSE, "c": TRUE}).as_json()
    result = confirm.confirmation(verdict, confirm.read())
    assert result.confirmed is False
    assert "the answer is no here, but yes at base seed 101" in result.why


def test_base_seeds_are_never_reused_and_all_runs_of_a_rule_count(course):
    course.at = {102: {"a": FALSE}}
    course.confirm("causes/time")
    for _ in range(2):
        course.confirm("causes/time")
    assert course.seeds("causes/time") == list(range(101, 116))
    assert course.result().confirmed is False  # no better luck by more tries
    assert len(course.result().seeds) == 15


def test_without_names_only_what_was_not_run_is_run(course):
    course.confirm("causes/time")
    course.confirm()
    assert (len(course.seeds("causes/time")), len(course.seeds("causes/depth"))) == (5, 5)
    assert course.confirm() == 0
    assert len(course.runs) == 10


def test_a_lesson_is_run_again_where_the_rule_of_one_of_its_claims_was_changed(course):
    course.confirm()
    course.claims["C3"]["quantity"] = "number"
    edit(course, "another rule")
    assert course.confirm() == 0
    assert course.seeds("causes/depth") == list(range(106, 116))
    assert course.seeds("causes/time") == list(range(101, 106))


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(course, monkeypatch):
    course.at = {104: KeyboardInterrupt()}
    monkeypatch.setattr("sys.argv", ["confirm", "causes/time"])
    with pytest.raises(KeyboardInterrupt):
        confirm.main()
    assert list(confirm.read()["C10"][0]["runs"]) == ["101", "102", "103"]
    assert course.result().confirmed is None
    assert course.result().why == "So far run at 3 of 5 fresh base seeds."
    course.at = {}
    commit(course.root)  # of the record alone: it may be, or not
    course.confirm()
    assert course.seeds("causes/time") == [101, 102, 103, 104, 104, 105]
    assert len(confirm.read()["C10"]) == 1
    assert course.result().confirmed is True


def test_a_run_that_was_cut_off_before_a_change_is_not_gone_on_with(course, monkeypatch):
    course.at = {103: KeyboardInterrupt()}
    monkeypatch.setattr("sys.argv", ["confirm", "causes/time"])
    with pytest.raises(KeyboardInterrupt):
        confirm.main()
    course.at = {}
    edit(course, "a change")
    course.confirm("causes/time")
    assert course.seeds("causes/time") == [101, 102, 103, *range(106, 111)]


def test_an_error_is_kept_and_its_base_seed_is_used_up(course):
    course.at = {102: RuntimeError("the kernel died")}
    assert course.confirm("causes/time") == 1
    run = confirm.read()["C10"][0]["runs"]["102"]
    assert run == {"usual": None, "otherwise": {}, "errors": ["RuntimeError: the kernel died"]}
    assert course.result().confirmed is False
    assert course.result().why == "Not all runs came to an answer. No answer at base seed 102."
    assert course.confirm("causes/time") == 0
    assert course.seeds("causes/time") == list(range(101, 111))
    assert course.result().confirmed is True
    assert course.result().why.endswith("No answer at base seed 102.")


def test_what_is_not_committed_is_refused_by_name(course, capsys):
    (course.root / "notes.md").write_text("new")
    assert course.confirm() == 2
    assert "this is not:\n?? notes.md" in capsys.readouterr().err
    assert course.runs == []
    commit(course.root)
    (course.root / "notes.md").write_text("changed")
    assert course.confirm() == 2
    assert " M notes.md" in capsys.readouterr().err


def test_stale_outputs_and_unknown_lessons_are_refused(course, capsys):
    assert course.confirm("causes/none") == 2
    assert "no lesson 'causes/none'; there are: causes/depth" in capsys.readouterr().err
    path = course.root / "lessons" / "causes" / "time.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["stale"] = True
    nbformat.write(notebook, path)
    commit(course.root)
    assert course.confirm("causes/time") == 2
    assert "stored outputs are stale, run `make lessons`: causes/time" in capsys.readouterr().err


def test_reseed_leaves_the_base_seeds_of_a_confirmation_alone(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reseed", "--seeds", "101"])
    with pytest.raises(SystemExit):
        reseed.main()
    assert "--seeds must be below 101, not 101" in capsys.readouterr().err


def test_what_comes_out_of_a_record_is_not_confirmed(course):
    course.claims["C10"]["recorded"] = ["a", "b"]
    course.confirm("causes/time")
    assert course.result().confirmed is None
    assert course.result().why == "It is from a record, which no base seed changes."
    course.claims["C10"]["recorded"] = ["a"]
    assert course.result().confirmed is True


MARKS = {"claim", "wording", "short", "because", "says"}
MARKS |= {"at_init", "repeats", "recorded", "fails", "undecided", "silent"}
CHANGED = dict(kind="can", quantity="number", also="it is blue", control="its twin")
CHANGED |= dict(at_least=0.4, at_most=0.5, ill=("i",), healthy=("h",), recall_at_least=0.5)
CHANGED |= dict(false_alarms_at_most=0.5, usual=("a",), stress=(), more_than=("a",))
CHANGED |= dict(less_than=("a",))


def test_the_hash_covers_what_decides_and_nothing_else(monkeypatch):
    fields = {field.name for field in dataclasses.fields(Rule)}
    assert fields == set(confirm.DECIDES) | MARKS  # a new field is one or the other
    assert set(CHANGED) == set(confirm.DECIDES)
    monkeypatch.setattr(claims, "all_claims", lambda: {"X": FIELDS})
    before = rule("X")
    hashes = [confirm.rule_hash(before)]
    for field, value in CHANGED.items():
        hashes.append(confirm.rule_hash(dataclasses.replace(before, **{field: value})))
    assert len(set(hashes)) == len(hashes)
    for field in MARKS:
        assert confirm.rule_hash(dataclasses.replace(before, **{field: "other"})) == hashes[0]
    assert confirm.rule_hash(dataclasses.replace(before, usual=("b", "a"))) == hashes[0]
    monkeypatch.setattr(claims, "AGREEMENT", 0.8)
    assert confirm.rule_hash(before) != hashes[0]


def test_the_tracked_record_uses_no_base_seed_twice(root):
    record = json.loads((root / confirm.RECORD).read_text(encoding="utf-8"))
    assert {name.partition("/")[0] for name in record} <= set(all_claims())
    for name, entries in record.items():
        seeds = [seed for entry in entries for seed in entry["seeds"]]
        first = confirm.FROM.get(name.partition("/")[0], reseed.KEPT_FOR_CONFIRMATION)
        assert len(set(seeds)) == len(seeds), name
        assert min(seeds) >= first, name
        assert all({*entry["runs"]} <= {*map(str, entry["seeds"])} for entry in entries), name


def test_stored_verdicts_do_not_pass_for_those_of_a_run_that_broke_off(course):
    course.at = {7: RuntimeError("the kernel died")}
    path = course.root / "lessons" / "causes" / "time.ipynb"
    assert VERDICT_MIME in path.read_text()
    assert reseed.at_seed(path, 7) == ({}, ["RuntimeError: the kernel died"])
