"""The key of a lesson's stored outputs: a short hash over everything that could change them.

That is its code, the modules of vglib that this reaches, the pinned versions of the packages that
either imports, the records, and the claims it names, with their rules and sentences. Comments and
docstrings change nothing, and neither does the first cell, which installs vglib.
"""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from hashlib import sha256
from importlib.metadata import packages_distributions

from IPython.core.inputtransformer2 import TransformerManager

LOCK = "requirements.txt"
NOT_SHOWN = {"part", "lesson", "source", "treated", "history"}  # of a claim: outputs lack these


def key(notebook, root):
    """What the stored outputs of ``notebook``, a lesson of the course in ``root``, depend on."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # A live cell is run by the reader alone: nothing of it is stored.
    cells = [cell for cell in cells if "live" not in cell.metadata.get("tags", [])]
    trees = [ast.parse(TransformerManager().transform_cell(cell.source)) for cell in cells]
    cells, trees = cells[1:], trees[1:]  # the first installs vglib, and gives no other a name
    digest = sha256()

    def cover(*things):
        digest.update(json.dumps(things).encode())

    for cell, tree in zip(cells, trees, strict=True):
        cover(meaning(tree), cell.source.rstrip().endswith(";"))  # which hides an output
    files = reached(trees, root)
    for file, (_, said) in files.items():
        digest.update(f"[{json.dumps(file)}, {said}]".encode())
    trees += [tree for tree, _ in files.values()]
    if "vglib/figures.py" in files:
        cover((root / "vglib" / "slider.js").read_text("utf-8"))
    cover(pins(trees, root))
    names = {node.value for tree in trees for node in ast.walk(tree) if is_text(node)}
    claims = tomllib.loads((root / "vglib" / "claims.toml").read_text("utf-8"))
    for name in sorted({name.partition("/")[0] for name in names} & set(claims)):
        cover(name, {k: v for k, v in claims[name].items() if k not in NOT_SHOWN})
    for path in sorted((root / "vglib" / "records").glob("*.json")):
        if path.stem in names:
            cover(path.stem, path.read_text("utf-8"))
    return digest.hexdigest()[:16]


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def without_docstring(tree):
    """A module, class or function without its docstring."""
    if tree.body and isinstance(tree.body[0], ast.Expr) and is_text(tree.body[0].value):
        tree.body = tree.body[1:]
    return tree


def meaning(node):
    """A syntax tree as nested lists, without docstrings; the same on every version of Python."""
    if isinstance(node, list):
        return [meaning(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        without_docstring(node)
    # Newer versions have more fields, which are empty where an older one could parse the code.
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return [type(node).__name__, *([name, meaning(value)] for name, value in fields)]


def imports(tree):
    """Every module that a syntax tree imports, as dotted names; of ``from a import b``, ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache  # lessons share most of their modules
def parsed(source):
    """The syntax tree of a module, and what it means as JSON."""
    tree = ast.parse(source)
    return tree, json.dumps(meaning(without_docstring(tree)))


def reached(trees, root):
    """The files of vglib that ``trees`` import, directly or by way of one another, `parsed`."""
    files, waiting = {}, list(trees)
    while waiting:
        for name in imports(waiting.pop()):
            file = file_of(name, root)
            if file and file not in files:
                files[file] = parsed((root / file).read_text("utf-8"))
                waiting.append(files[file][0])
    return dict(sorted(files.items()))


def file_of(name, root):
    """The file of vglib that a dotted name is in: itself a module, or a part of one."""
    parts = name.split(".")
    if parts[0] != "vglib":
        return None
    for end in range(len(parts), 0, -1):
        start = "/".join(parts[:end])
        for file in (f"{start}.py", f"{start}/__init__.py"):
            if (root / file).is_file():
                return file
    return None


owners_of_packages = cache(packages_distributions)  # it reads what every package installed


def pins(trees, root):
    """The lines of the lock for the packages that ``trees`` import."""
    owners = owners_of_packages()
    names = {name.split(".")[0] for tree in trees for name in imports(tree)}
    names -= {"vglib", *sys.stdlib_module_names}
    packages = {owner.lower() for name in names for owner in owners.get(name, [name])}
    lines = (root / LOCK).read_text("utf-8").splitlines()
    return sorted(line for line in lines if re.split(r"[=\s;]", line)[0].lower() in packages)
