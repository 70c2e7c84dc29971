"""The tools: keys against stale outputs, other seeds, another address."""

import re
import shutil
import subprocess
from contextlib import nullcontext
from xml.etree import ElementTree

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import essentials
from tools import lessons as tool
from tools.release import release
from tools.retarget import address, pages, retarget

SETUP = """import os

if not os.path:
    %pip install git+https://example.org/course@main
SEED = int(os.environ.get("VGLIB_SEED", "0"))"""
SOURCE = """# recorded("another"), Rule("C2") and: from vglib import plots
import os

def explore():
    import torch
    import vglib.monitor
    from vglib.signs import LIMIT
    from vglib import (nets,
                       tasks)

def Rule(claim, at_least):
    print(claim, at_least)

recorded = print
recorded("run")
Rule("C1", at_least=0.5)
print("seed", SEED, os.environ["OMP_NUM_THREADS"])"""
MODULES = {
    "nets": "from vglib.checks import positive as positive\n",
    "monitor": 'def watch():\n    """Old words."""\n    return 1  # old words\n',
    "checks": "positive = 1\n",
    "tasks": "size = 1\n",
    "plots": "size = 1\n",
    "signs/__init__": "from vglib.signs.limits import LIMIT as LIMIT\n",
    "signs/limits": "LIMIT = 1\n",
}
CLAIMS = """[C1]
wording = "It vanishes."
at_least = 0.5
usual = ["sigmoid"]
source = "somebody"
[C2]
wording = "It explodes."
[[C1.history]]
changed = "nothing."
"""
LOCK = """pytest==9.2.0
torch==2.13.0
"""


def at(monkeypatch, folder):
    """Let the tools work in ``folder``, and without other arithmetic."""
    monkeypatch.setattr(tool, "ROOT", folder)
    monkeypatch.setattr(tool, "SOURCE", folder / "_build" / "source")
    monkeypatch.setattr(tool, "README_PICTURE", None)
    monkeypatch.setattr(tool, "ARITHMETIC", {})
    monkeypatch.setattr(tool, "NUDGES", ())


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    (folder / "vglib" / "records").mkdir(parents=True)
    (folder / "book").mkdir()
    (folder / "lessons" / "causes").mkdir(parents=True)
    for name, code in MODULES.items():
        file = folder / "vglib" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    for name in ("run", "another"):
        (folder / "vglib" / "records" / f"{name}.json").write_text("{}")
    (folder / "vglib" / "claims.toml").write_text(CLAIMS)
    (folder / "requirements.txt").write_text(LOCK)
    for name in ("_config.yml", "_toc.yml", "references.bib", "CHANGELOG.md"):
        (folder / name).write_text(name)
    cells = [new_code_cell(SETUP), new_code_cell(SOURCE), new_markdown_cell("Prose.")]
    path = folder / "lessons" / "causes" / "one.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        at(monkeypatch, folder)
        tool.refresh(fresh=False)
    return folder


@pytest.fixture
def course(made_once, tmp_path, monkeypatch):
    """A tiny course of one lesson, with its stored outputs up to date."""
    shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    at(monkeypatch, tmp_path)
    return tmp_path


def lesson(course):
    return nbformat.read(course / "lessons" / "causes" / "one.ipynb", as_version=4)


def staged(course):
    path = course / "_build" / "source" / "lessons" / "causes" / "one.ipynb"
    return nbformat.read(path, as_version=4)


def test_refresh_stores_outputs_and_a_key(course):
    assert lesson(course).cells[1].outputs[0].text == "run\nC1 0.5\nseed 0 1\n"
    assert tool.is_fresh(lesson(course))


def edit(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


STALE = {
    "a module": ("vglib/tasks.py", "size = 1", "size = 2"),
    "what a module imports": ("vglib/checks.py", "positive = 1", "positive = 2"),
    "a module by its dotted name": ("vglib/monitor.py", "return 1", "return 2"),
    "what a package imports": ("vglib/signs/limits.py", "LIMIT = 1", "LIMIT = 2"),
    "the wording of a claim on trial": ("vglib/claims.toml", "It vanishes.", "Not so."),
    "the bound of a claim on trial": ("vglib/claims.toml", "0.5", "0.6"),
    "a setting of a claim on trial": ("vglib/claims.toml", "sigmoid", "tanh"),
    "a record": ("vglib/records/run.json", "{}", "{ }"),
    "the pin of a package that it imports": ("requirements.txt", "2.13.0", "2.13.1"),
    "an argument": ("lessons/causes/one.ipynb", "at_least=0.5", "at_least=0.6"),
    "an output by hand": ("lessons/causes/one.ipynb", '"seed 0 1', '"seed 0 2'),
}
FRESH = {
    "a comment": ("vglib/monitor.py", "# old words", "# better words, and more of them"),
    "a docstring": ("vglib/monitor.py", "Old words.", "Better words."),
    "a module that it does not import": ("vglib/plots.py", "size = 1", "size = 2"),
    "another claim": ("vglib/claims.toml", "It explodes.", "Not so."),
    "the source of a claim": ("vglib/claims.toml", "somebody", "somebody else"),
    "the history of a claim": ("vglib/claims.toml", "nothing.", "the bound."),
    "another record": ("vglib/records/another.json", "{}", "{ }"),
    "the pin of a test tool": ("requirements.txt", "9.2.0", "9.3.0"),
    "a comment in a cell": ("lessons/causes/one.ipynb", "and: from vglib", "and: # from vglib"),
    "how code is laid out": ("lessons/causes/one.ipynb", "(nets,", "(\\n nets,"),
    "prose": ("lessons/causes/one.ipynb", "Prose.", "Better prose."),
    "the release to install": ("lessons/causes/one.ipynb", "course@main", "course@v0.2.0"),
}


@pytest.mark.parametrize(("name", "old", "new"), STALE.values(), ids=STALE)
def test_what_makes_outputs_stale(course, name, old, new):
    edit(course / name, old, new)
    assert not tool.is_fresh(lesson(course))


@pytest.mark.parametrize(("name", "old", "new"), FRESH.values(), ids=FRESH)
def test_what_leaves_outputs_fresh(course, name, old, new):
    edit(course / name, old, new)
    assert tool.is_fresh(lesson(course))


def test_tags_leave_outputs_fresh_but_for_live_cells_which_keep_none(course):
    notebook = lesson(course)
    notebook.cells[1].metadata["tags"] = ["hide-input"]
    assert tool.is_fresh(notebook)
    notebook.cells[1].metadata["tags"] = ["live"]
    assert not tool.is_fresh(notebook)


def test_a_semicolon_that_hides_an_output_counts(course):
    notebook = lesson(course)
    notebook.cells[1].source += ";"
    assert not tool.is_fresh(notebook)


def copy_tracked(root, target):
    """Copy what git tracks of ``root``, but for what is deleted; returns all tracked names."""
    files = subprocess.check_output(["git", "-C", str(root), "ls-files", "-z"], text=True)
    names = [name for name in files.split("\0") if name]
    for name in names:
        if (root / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target / name)
    return names


def test_a_release_leaves_every_lesson_fresh(root, tmp_path, monkeypatch):
    copy_tracked(root, tmp_path)
    release(tmp_path, "99.0.0")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    for path in tool.lessons():
        assert "@v99.0.0" in path.read_text("utf-8")
        assert tool.is_fresh(nbformat.read(path, as_version=4)), path


def test_the_book_gets_fresh_outputs_and_the_tracked_lesson_stays(course, monkeypatch):
    path = course / "lessons" / "causes" / "one.ipynb"
    tool.stage(fresh=False)
    assert staged(course).cells[1].outputs == lesson(course).cells[1].outputs

    notebook = lesson(course)
    notebook.cells[1].source = "print('changed')"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    tool.stage(fresh=False)
    assert staged(course).cells[1].outputs[0].text == "changed\n"
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
    notebook.cells[1].source = "1 / 0"
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        tool.run(notebook, folder=course)
    tool.run(notebook, folder=course, seed=7, keep_going=True)
    assert notebook.cells[1].outputs[0].ename == "ZeroDivisionError"


def test_the_base_seed_reaches_the_lesson_and_live_cells_keep_nothing(course):
    notebook = lesson(course)
    notebook.cells.append(new_code_cell("print(1)", metadata={"tags": ["live"]}))
    tool.run(notebook, folder=course, seed=7)
    assert notebook.cells[1].outputs[0].text.endswith("seed 7 1\n")
    assert notebook.cells[3].outputs == []


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
    first.cells.insert(0, new_markdown_cell("# One"))
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
    names = copy_tracked(root, tmp_path)
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
    for name in names:
        path = tmp_path / name
        if path.suffix not in (".png", ".woff2") and path.exists():
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
    notebook.cells[1].outputs[0].text = "forged\n"
    assert not tool.is_fresh(notebook)
    notebook.cells[1].outputs = []
    assert not tool.is_fresh(notebook)


def test_an_edit_during_the_run_leaves_the_outputs_stale(course, monkeypatch):
    notebook = lesson(course)
    pins = course / "requirements.txt"
    notebook.cells[
        1
    ].source = f"def explore():\n    import torch\nopen({str(pins)!r}, 'w').write('torch==3')"
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


PAGE = """---
myst: words that nobody reads
---

# Two words

(a-label)=
Here are five: $z_l = 1$ and {n}`depth-left`.

```{drawing} stack
:name: fig-stack
A caption.
```

::::{dropdown} Deeper: a fold
Nobody counts this.
:::{note}
Nor this.
:::
::::

$$x = y$$ (eq-one)

```python
print("nor code")
```

[One more.](causes/depth.md)

```{essentials} causes/depth
```

What follows is deeper.
"""


def test_the_words_of_the_essential_part_are_those_that_are_read():
    assert essentials.words(essentials.essential(PAGE)) == 2 + 6 + 2 + 2
    assert essentials.words(PAGE) == 2 + 6 + 2 + 2 + 4


def test_the_track_has_pages_only_and_ends(root):
    assert essentials.following(essentials.TRACK[-1]) is None
    for page in essentials.TRACK:
        assert (root / "book" / f"{page}.md").exists(), page


def test_the_readme_shows_a_chart_that_needs_no_page(root):
    stored = (root / tool.README_PICTURE[2]).read_text("utf-8")
    assert f"]({tool.README_PICTURE[2]})" in (root / "README.md").read_text("utf-8")
    assert stored == tool.readme_picture(), "run `make lessons`"
    assert not re.search(r"var\(|currentColor|vg-chart|style=\"display", stored)
    svg = ElementTree.fromstring(stored)
    page = svg[0]
    assert page.tag.endswith("rect")
    assert page.get("fill") == "white"
    assert svg.get("viewBox") == f"0 0 {page.get('width')} {page.get('height')}"


def test_an_unknown_readme_picture_is_refused(monkeypatch):
    monkeypatch.setattr(tool, "README_PICTURE", ("causes/depth", "fig-none", "none.svg"))
    with pytest.raises(ValueError, match="causes/depth has no figure 'fig-none'"):
        tool.readme_picture()
