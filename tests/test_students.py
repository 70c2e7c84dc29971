"""Lessons as they are handed out: no solution survives, and what is left needs none of them."""

import ast
import builtins
import copy
import re

import nbformat
import pytest
from test_lessons import names

from tools import students
from tools.lessons import FOLDED, lessons, name_of


@pytest.fixture(scope="module")
def handed_out():
    """By lesson: the notebook, where its solutions are, and what students get."""
    found = {}
    for path in lessons():
        name = name_of(path)
        whole = nbformat.read(path, as_version=4)
        students.published(whole, f"lessons/{path.parent.name}", "https://example.org/")
        given = copy.deepcopy(whole)
        students.unsolved(given)
        found[name] = whole, students.solutions(whole), given
    return found


def test_no_solution_and_no_output_survives(handed_out):
    for name, (whole, places, given) in handed_out.items():
        assert len(places) == 3, f"{name} has three exercises, each with its solution"
        others = "\n".join(c.source for i, c in enumerate(whole.cells) if i not in places)
        text = "\n".join(cell.source for cell in given.cells)
        assert text.count(students.EMPTY) == 3, name
        for place in places:
            for line in whole.cells[place].source.splitlines():
                told = len(line) > 30 and "import " not in line and line not in others
                assert not (told and line in text), f"{name}: {line}"
        assert not any(cell.get("outputs") for cell in given.cells), name


def test_what_is_left_uses_no_name_that_only_a_solution_had(handed_out):
    for name, (whole, places, given) in handed_out.items():
        code = [cell for cell in given.cells if cell.cell_type == "code"]
        had = {name for place in places for name in names(whole.cells[place], ast.Store)}
        known = {*dir(builtins), "display"}
        for cell in code:
            missing = names(cell, ast.Load) - names(cell, ast.Store) - known
            assert not missing & had, f"{name}: {missing & had} in {cell.source[:60]!r}"
            known |= names(cell, ast.Store)


def test_links_lead_out_of_the_folder_to_the_book(handed_out):
    for name, (_, _, given) in handed_out.items():
        text = "\n".join(cell.source for cell in given.cells)
        assert not re.search(r"\]\([^:)]*\.(?:md|ipynb)[#)]", text), name


def test_every_cell_that_a_reader_sees_is_still_there(handed_out):
    for name, (whole, _, given) in handed_out.items():
        sources = {cell.source for cell in given.cells}
        for cell in whole.cells:
            if not FOLDED & {*cell.metadata.get("tags", [])}:
                assert cell.source in sources, f"{name}: {cell.source[:60]!r}"
