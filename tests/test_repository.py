"""The project's own files agree with each other."""

import re
import shutil
import subprocess
import sys
import tomllib

import nbformat
import pytest
import yaml

from tools.release import release, version
from tools.retarget import address, pages

WHERE = {
    "README.md": 4,
    "_config.yml": 1,
    "CITATION.cff": 1,
    "book/running.md": 1,
    "lessons/causes/depth.ipynb": 1,
}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def bounds(project):
    """What vglib and the lessons need: name → lower bound."""
    requirements = project["dependencies"] + project["optional-dependencies"]["course"]
    return dict(line.split(">=") for line in requirements)


def lines(path):
    return [line for line in path.read_text().splitlines() if line and line[0] != "#"]


def names(requirements):
    return {re.match(r"[a-z0-9-]+", line)[0] for line in requirements}


@pytest.mark.parametrize(("name", "count"), WHERE.items())
def test_the_address_is_the_one_in_pyproject(root, name, count):
    text = (root / name).read_text(encoding="utf-8")
    found = re.findall(
        r"(?:github\.com|/github|/gh)/([\w.-]+/[\w.-]+?)(?:\.git)?(?=[/@\"\\)\s]|$)", text
    )
    ours = [repository for repository in found if not repository.startswith("actions/")]
    assert len(ours) >= count
    assert set(ours) == {address(root)}


def test_the_book_s_own_address_follows(root):
    config = yaml.safe_load((root / "_config.yml").read_text())
    expected = f"https://{pages(address(root))}/"
    assert config["html"]["baseurl"] == expected
    assert config["sphinx"]["config"]["ogp_site_url"] == expected
    assert yaml.safe_load((root / "CITATION.cff").read_text())["url"] == expected
    assert expected in (root / "README.md").read_text()


def test_vglib_has_lower_bounds_only(project, bounds):
    assert all(re.fullmatch(r"[\d.]+", bound) for bound in bounds.values())
    # Who wants `vglib.diagnose` only shall not install the course.
    assert names(project["dependencies"]) == {"numpy", "torch"}


def test_the_book_s_environment_is_locked_and_has_all_of_vglib_s(root, bounds):
    wanted, locked = lines(root / "requirements.in"), lines(root / "requirements.txt")
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line) for line in locked)
    assert set(bounds) <= names(wanted) <= names(locked)


def test_binder_s_environment_has_all_of_vglib_s(root, bounds):
    packages = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    assert set(bounds) <= {name.replace("pytorch-cpu", "torch") for name in names(packages)}


def test_the_lowest_versions_are_the_lower_bounds(root, bounds):
    lowest = dict(line.split("==") for line in lines(root / "tests" / "lowest.txt"))
    for name, bound in bounds.items():
        assert lowest[name].startswith(bound), name


def check_versions_agree(root):
    """pyproject, the citation, the changelog and the first cells speak of one version."""
    new = version(root)
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    heading = re.search(r"^## (.*)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    refs = set()
    for path in (root / "lessons").glob("*/*.ipynb"):
        refs |= set(re.findall(r"git\+[^\"]*@([^\"\\]+)", path.read_text(encoding="utf-8")))
    assert citation["version"] == new
    if new.endswith(".dev0"):
        assert "date-released" not in citation
        assert (heading, refs) == ("Unreleased", {"main"})
    else:
        assert heading == f"{new} ({citation['date-released']})"
        assert refs == {f"v{new}"}


def test_the_versions_agree_with_each_other_and_with_the_tag(root):
    check_versions_agree(root)
    tags = subprocess.check_output(["git", "-C", str(root), "tag", "--points-at"], text=True)
    assert {tag for tag in tags.split() if tag.startswith("v")} <= {f"v{version(root)}"}


def test_release_sets_every_version_and_opens_the_next(root, tmp_path):
    shutil.copytree(root / "lessons", tmp_path / "lessons")
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        shutil.copy(root / name, tmp_path)
    notes = (tmp_path / "CHANGELOG.md").read_text().count("\n- ")
    for new in ("97.0.0.dev0", "97.0.0", "97.1.0.dev0", "98.0.0.dev0", "98.0.0"):
        release(tmp_path, new)
        assert version(tmp_path) == new
        check_versions_agree(tmp_path)
    log = (tmp_path / "CHANGELOG.md").read_text()
    assert log.count("\n- ") == notes
    assert re.findall("^## (9.*) ", log, re.MULTILINE) == ["98.0.0", "97.0.0"]
    assert "Unreleased" not in log


@pytest.mark.parametrize("new", ["", "v99.0.0", "99.0", "99.0.0rc1", "99.0.0.dev1"])
def test_release_refuses_what_is_no_version(root, new):
    with pytest.raises(ValueError, match="must be like"):
        release(root, new)


def test_release_refuses_to_go_back(root):
    with pytest.raises(ValueError, match="must be later than"):
        release(root, "0.0.1")


def first_cell_and_imports(path):
    """The source of a lesson's first code cell, and the packages that the others import."""
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    found = re.findall(r"^\s*(?:from|import) (\w+)", "\n".join(cells[1:]), re.MULTILINE)
    return cells[0], set(found) - sys.stdlib_module_names


def test_the_first_cell_asks_for_all_that_a_lesson_imports(root):
    for path in (root / "lessons").glob("*/*.ipynb"):
        source, imports = first_cell_and_imports(path)
        needed = set(re.search(r'needed = "(.*)"', source)[1].split())
        # numpy comes with vglib, and IPython runs the notebook.
        assert imports <= needed | {"numpy", "IPython"}, path


def test_the_first_cell_stops_and_names_what_is_missing(root, monkeypatch):
    source, _ = first_cell_and_imports(root / "lessons" / "causes" / "depth.ipynb")
    pip = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name not in ("vglib", "scipy"))
    code = re.sub(r"^( *)%pip (.*)", r"\1pip.append(f'\2')", source, flags=re.MULTILINE)
    with pytest.raises(ImportError, match=r"vglib, scipy\. .*run: %pip install 'vglib\[course\] @"):
        exec(code, {"pip": pip})
    assert re.fullmatch(r"install --quiet --no-deps git\+https://\S+@\S+", pip[0])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    exec(code, {"pip": pip})
    assert len(pip) == 1


def test_the_workflow_publishes_only_what_was_tested(root):
    workflow = yaml.safe_load((root / ".github" / "workflows" / "test.yml").read_text())
    jobs = workflow["jobs"]
    assert set(jobs["publish"]["needs"]) == set(jobs) - {"publish", "deploy"}
    assert jobs["publish"]["if"] == "github.event_name == 'push'"
    assert any("FAIL_IF_STALE=1" in step.get("run", "") for step in jobs["publish"]["steps"])
    runs = " ".join(step.get("run", "") for step in jobs["publish"]["steps"])
    assert all(word in runs for word in ("make pages pdf", "course.zip", "course.pdf"))
    assert jobs["deploy"]["needs"] == "publish"
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs.items() if "permissions" in job] == ["deploy"]


def test_workflows_run_actions_that_cannot_be_moved(root):
    for path in (root / ".github" / "workflows").glob("*.yml"):
        for action in re.findall(r"uses: (.*)", path.read_text()):  # a tag can be, a commit cannot
            pinned = r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
            assert re.fullmatch(pinned, action), f"{path.name}: {action}"


def test_upkeep_runs_lessons_that_there_are_and_may_only_open_issues(root):
    text = (root / ".github" / "workflows" / "upkeep.yml").read_text()
    named = re.search(r"tools\.alone (.*)", text)[1].split()
    assert named
    assert all((root / "lessons" / f"{name}.ipynb").is_file() for name in named)
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["colab"]["permissions"] == {"contents": "read", "issues": "write"}


def test_what_readme_promises_is_in_the_makefile(root):
    makefile = (root / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)", (root / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_contributing_is_short(root):
    assert len((root / "CONTRIBUTING.md").read_text().splitlines()) < 100


def test_cited_keys_and_entries_match(root):
    entries = set(re.findall(r"^@\w+\{(\w+),", (root / "references.bib").read_text(), re.MULTILINE))
    text = "\n".join(path.read_text() for path in (root / "book").rglob("*.md"))
    cited = {
        key for group in re.findall(r"\{cite:[pt]\}`([^`]+)`", text) for key in group.split(",")
    }
    claims = tomllib.loads((root / "vglib" / "claims.toml").read_text())
    sources = {claim["source"] for claim in claims.values() if "source" in claim}
    assert cited | sources == entries


def test_every_entry_says_what_was_read(root):
    bib = (root / "references.bib").read_text()
    for entry in re.split(r"\n(?=@)", bib)[1:]:
        note = re.search(r"note\s*=\s*\{(.*)\}", entry)
        assert note, entry
        assert re.search(r"\bread\b|not opened", note[1], re.IGNORECASE), note[1]


def test_nothing_stands_between_entries(root):
    open_braces = 0
    for number, line in enumerate((root / "references.bib").read_text().splitlines(), 1):
        if not open_braces:
            assert not line or line[0] in "@%", f"line {number}: {line}"
        open_braces += line.count("{") - line.count("}")
    assert not open_braces


def test_no_debris_is_tracked(root):
    tracked = subprocess.check_output(["git", "-C", str(root), "ls-files"], text=True)
    assert not re.search(r"(^|/)(_build|\.venv|__pycache__|\.ipynb_checkpoints)/", tracked)
    assert "shared/" not in tracked


def test_where_a_claim_is_said_to_be_treated_it_is(root, extension):
    claims = tomllib.loads((root / "vglib" / "claims.toml").read_text())
    treated = {name: claim["treated"] for name, claim in claims.items() if "treated" in claim}
    assert treated
    for name, place in treated.items():
        assert "lesson" not in claims[name], name
        chapter, _, anchor = place.partition("#")
        text = (root / "book" / f"{chapter}.md").read_text(encoding="utf-8")
        found = {extension.slug(title) for title in re.findall(r"^##+ (.*)$", text, re.MULTILINE)}
        assert not anchor or anchor in found, name
