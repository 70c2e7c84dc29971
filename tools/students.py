"""Make the lessons ready to hand out: without solutions, and the key apart.

    python -m tools.students [LESSON …]

writes _build/students, where each solution is an empty cell and nothing has run yet, and
_build/key, the whole lessons with their outputs. Links lead to the published book, so that a
notebook can be read wherever it is put.
"""

import argparse
import ast
import re

import nbformat
import yaml
from IPython.core.inputtransformer2 import TransformerManager

from tools import lessons as tool
from tools.outputs import TOLERANCES
from tools.timetable import absolute

TASK = re.compile(r"^\*\*\d\. ", re.MULTILINE)  # as an exercise begins
EMPTY = "# Your answer\n"
KINDS = ("key", "students")


def solutions(notebook):
    """The places of the solutions among a notebook's cells: folded, and each after its exercise."""
    cells = notebook.cells
    return [
        place
        for place in range(1, len(cells))
        if "hide-cell" in cells[place].metadata.get("tags", [])
        and TASK.search(cells[place - 1].source)
    ]


def published(notebook, folder, address):
    """Let the links of a notebook in ``folder`` lead to the book at ``address``; changes it."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = absolute(cell.source, folder)
            cell.source = re.sub(
                r"\]\(/([\w/]+)\.(?:md|ipynb)([#)])", rf"]({address}\1.html\2", text
            )


def names(tree):
    """The names that code gives a value, and those that it uses."""
    gives, uses = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (uses if isinstance(node.ctx, ast.Load) else gives).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            gives.add(node.name)
        elif isinstance(node, ast.arg):
            gives.add(node.arg)
        elif isinstance(node, ast.alias):
            gives.add(node.asname or node.name.partition(".")[0])
    return gives, uses


def parsed(cell):
    """The code of a cell, whose ``%pip`` and the like are made Python first."""
    return ast.parse(TransformerManager().transform_cell(cell.source))


def unsolved(notebook):
    """Empty the solutions of a notebook and drop all outputs, which students make themselves.

    A folded cell that goes on with a solution's results tells them, and goes too, as do the numbers
    for the book. A cell that only needs an import of a solution gets it.
    """
    places = solutions(notebook)
    solved, imports = set(), {}
    for place in places:
        tree = parsed(notebook.cells[place])
        solved |= names(tree)[0]
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports |= dict.fromkeys(names(node)[0], ast.unparse(node))
        notebook.cells[place] = nbformat.v4.new_code_cell(EMPTY, id=notebook.cells[place].id)
    kept, known = [], set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if "remove-cell" in cell.metadata.get("tags", []):
                continue
            gives, uses = names(parsed(cell))
            missing = (uses - gives - known) & solved
            if missing - imports.keys():
                continue
            for line in sorted({imports[name] for name in missing}):
                cell.source = f"{line}\n{cell.source}"
            known |= gives | missing
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop(TOLERANCES, None)
        kept.append(cell)
    notebook.cells = kept
    for name in ("vglib_key", "vglib_outputs"):
        notebook.metadata.pop(name, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="LESSON")
    config = yaml.safe_load((tool.ROOT / "_config.yml").read_text("utf-8"))
    for path in tool.chosen(parser.parse_args().names):
        name = tool.name_of(path)
        for kind in KINDS:
            notebook = nbformat.read(path, as_version=4)
            published(notebook, f"lessons/{name}/..", config["html"]["baseurl"])
            if kind == "students":
                unsolved(notebook)
            target = tool.ROOT / "_build" / kind / f"{name}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, target)
    print(*(tool.ROOT / "_build" / kind for kind in KINDS), sep="\n")


if __name__ == "__main__":
    main()
