"""The tools: keys against stale outputs, other seeds, another address."""

import shutil
import subprocess
from contextlib import nullcontext

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tools import lessons as tool
from tools.retarget import address, pages, retarget

SOURCE = """# recorded("run"); the course's own: from vglib import (nets,
# tasks); Rule("C1")
import os

print("seed", os.environ["VGLIB_SEED"], os.environ["OMP_NUM_THREADS"])"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A tiny course of one lesson, with its stored outputs up to date."""
    (tmp_path / "vglib").mkdir()
    (tmp_path / "vglib" / "nets.py").write_text("from vglib.checks import positive\n")
    for name in ("checks", "tasks", "plots"):
        (tmp_path / "vglib" / f"{name}.py").write_text("depth = 1\n")
    (tmp_path / "vglib" / "claims.toml").write_text('[C1]\nwording = "It vanishes."\n')
    (tmp_path / "requirements.txt").write_text("torch==1\n")
    (tmp_path / "book").mkdir()
    (tmp_path / "lessons" / "causes").mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml", "references.bib", "CHANGELOG.md"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "SOURCE", tmp_path / "_build" / "source")
    monkeypatch.setattr(tool, "README_PICTURE", None)
    cells = [nbformat.v4.new_code_cell(SOURCE), nbformat.v4.new_markdown_cell("Prose.")]
    path = tmp_path / "lessons" / "causes" / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    tool.refresh(fresh=False)
    return tmp_path


def lesson(course):
    return nbformat.read(course / "lessons" / "causes" / "one.ipynb", as_version=4)


def staged(course):
    path = course / "_build" / "source" / "lessons" / "causes" / "one.ipynb"
    return nbformat.read(path, as_version=4)


def test_refresh_stores_outputs_and_a_key(course):
    assert lesson(course).cells[0].outputs[0].text == "seed 0 1\n"
    assert tool.is_fresh(lesson(course))


def record(course, name):
    (course / "vglib" / "records").mkdir(exist_ok=True)
    (course / "vglib" / "records" / name).write_text("{}")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: (c / "vglib" / "nets.py").write_text("depth = 2\n"),
        lambda c: (c / "vglib" / "tasks.py").write_text("depth = 2\n"),
        lambda c: (c / "vglib" / "checks.py").write_text("depth = 2\n"),
        lambda c: (c / "vglib" / "claims.toml").write_text('[C1]\nwording = "Not so."\n'),
        lambda c: (c / "requirements.txt").write_text("torch==2\n"),
        lambda c: record(c, "run.json"),
    ],
)
def test_what_makes_outputs_stale(course, change):
    change(course)
    assert not tool.is_fresh(lesson(course))


def test_what_no_cell_uses_changes_nothing(course):
    record(course, "another.json")
    (course / "vglib" / "plots.py").write_text("depth = 2\n")
    with (course / "vglib" / "claims.toml").open("a") as claims:
        claims.write('lesson = "causes/one"\n[C2]\nwording = "It explodes."\n')
    assert tool.is_fresh(lesson(course))


def test_code_and_tags_make_outputs_stale_and_prose_does_not(course):
    notebook = lesson(course)
    notebook.cells[1].source = "Better prose."
    assert tool.is_fresh(notebook)
    notebook.cells[0].metadata["tags"] = ["live"]
    assert not tool.is_fresh(notebook)
    notebook.cells[0].metadata.pop("tags")
    notebook.cells[0].source += "\n"
    assert not tool.is_fresh(notebook)


def test_the_book_gets_fresh_outputs_and_the_tracked_lesson_stays(course, monkeypatch):
    path = course / "lessons" / "causes" / "one.ipynb"
    tool.stage(fresh=False)
    assert staged(course).cells[0].outputs == lesson(course).cells[0].outputs

    notebook = lesson(course)
    notebook.cells[0].source = "print('changed')"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    tool.stage(fresh=False)
    assert staged(course).cells[0].outputs[0].text == "changed\n"
    assert path.read_bytes() == before

    # Run once, not at every build.
    monkeypatch.setattr(tool, "run", lambda *a, **k: pytest.fail("it ran again"))
    tool.stage(fresh=False)


def test_what_is_gone_from_the_book_is_gone_from_the_build(course):
    (course / "book" / "old.md").write_text("old")
    tool.stage(fresh=False)
    assert (course / "_build" / "source" / "book" / "old.md").exists()
    (course / "book" / "old.md").unlink()
    tool.stage(fresh=False)
    assert not (course / "_build" / "source" / "book" / "old.md").exists()


def test_a_failing_lesson_stops_everything_unless_asked_to_go_on(course):
    notebook = lesson(course)
    notebook.cells[0].source = "1 / 0"
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        tool.run(notebook, folder=course)
    tool.run(notebook, folder=course, seed=7, keep_going=True)
    assert notebook.cells[0].outputs[0].ename == "ZeroDivisionError"


def test_the_base_seed_reaches_the_lesson_and_live_cells_keep_nothing(course):
    notebook = lesson(course)
    notebook.cells.append(nbformat.v4.new_code_cell("print(1)", metadata={"tags": ["live"]}))
    tool.run(notebook, folder=course, seed=7)
    assert notebook.cells[0].outputs[0].text == "seed 7 1\n"
    assert notebook.cells[2].outputs == []


def test_a_number_that_is_gone_fails_the_build(course, root, capfd):
    """A tiny book, with the settings and the extension of the real one."""
    shutil.copytree(root / "book" / "extensions", course / "book" / "extensions")
    shutil.copytree(root / "book" / "static", course / "book" / "static")
    for name in ("_config.yml", "references.bib"):
        shutil.copyfile(root / name, course / name)
    contents = "format: jb-book\nroot: book/index\nchapters: [{file: lessons/causes/one}]\n"
    (course / "_toc.yml").write_text(contents)
    number = "{glue:text}`../lessons/causes/one.ipynb::no-such-number:s`"
    (course / "book" / "index.md").write_text(f"# Title\n\n{number}\n")
    first = lesson(course)
    first.cells.insert(0, nbformat.v4.new_markdown_cell("# One"))
    nbformat.write(first, course / "lessons" / "causes" / "one.ipynb")
    with pytest.raises(SystemExit, match="The book was not built"):
        tool.book(fresh=False)
    assert "no-such-number" in "".join(capfd.readouterr())


@pytest.mark.parametrize("code", [0, 1])
def test_nothing_of_an_earlier_build_is_taken_for_this_one(course, monkeypatch, code):
    old = [course / "_build" / name / "old" for name in ("html", ".doctrees", "figures")]
    for path in old:
        path.parent.mkdir(parents=True)
        path.write_text("old")
    found = []

    def build(command, **keywords):
        found.extend(path for path in old if path.exists())
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(tool.subprocess, "run", build)
    with pytest.raises(SystemExit) if code else nullcontext():
        tool.book(fresh=False)
    assert found == []


def test_retarget_moves_every_mention(root, tmp_path):
    files = subprocess.check_output(["git", "-C", str(root), "ls-files", "-z"], text=True)
    for name in filter(None, files.split("\0")):
        if (root / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, tmp_path / name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    old = address(root)
    changed = retarget(tmp_path, "Some-One/fork.of_it")
    assert address(tmp_path) == "Some-One/fork.of_it"
    assert {"README.md", "_config.yml", "CITATION.cff", "lessons/causes/depth.ipynb"} <= set(
        changed
    )
    config = (tmp_path / "_config.yml").read_text()
    assert "https://some-one.github.io/fork.of_it/" in config
    for name in filter(None, files.split("\0")):
        path = tmp_path / name
        if path.suffix != ".png" and path.exists():
            assert old not in path.read_text(encoding="utf-8"), name
            assert pages(old) not in path.read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", ["nonsense", "a-/b", "me/..", "me/course.git", "a/b/c"])
def test_retarget_refuses_what_is_no_address(root, name):
    with pytest.raises(ValueError, match="must be OWNER/NAME, not"):
        retarget(root, name)


def test_retarget_needs_a_clone(root, tmp_path):
    shutil.copy(root / "pyproject.toml", tmp_path)
    with pytest.raises(ValueError, match="must be a git clone"):
        retarget(tmp_path, "someone/fork")
    assert address(tmp_path) == address(root)


def test_outputs_that_were_not_made_by_the_tool_are_stale(course):
    notebook = lesson(course)
    notebook.cells[0].outputs[0].text = "forged\n"
    assert not tool.is_fresh(notebook)
    notebook.cells[0].outputs = []
    assert not tool.is_fresh(notebook)


def test_an_edit_during_the_run_leaves_the_outputs_stale(course, monkeypatch):
    notebook = lesson(course)
    pins = course / "requirements.txt"
    notebook.cells[0].source = f"open({str(pins)!r}, 'w').write('torch==3')"
    tool.run(notebook, folder=course)
    assert not tool.is_fresh(notebook)
    tool.run(notebook, folder=course)
    assert tool.is_fresh(notebook)


def test_fresh_runs_everything_again(course, monkeypatch):
    runs = []
    real = tool.run
    monkeypatch.setattr(tool, "run", lambda *a, **k: runs.append(1) or real(*a, **k))
    tool.refresh(fresh=False)
    tool.stage(fresh=False)
    assert runs == []
    tool.refresh(fresh=True)
    tool.stage(fresh=True)
    assert len(runs) == 2
