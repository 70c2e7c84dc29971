"""What nbval compares: words exactly, numbers within the cell's tolerances.

A lesson that trains nothing is run in other arithmetic as well, as on
another processor.
"""

import os
from unittest import mock

import nbformat
import nbval.plugin
from tools.lessons import ARITHMETIC
from tools.outputs import differences

OTHERS = ("plain code", "plain elementwise code")


def compare(item, outputs, stored, skip_compare=None):
    """In place of nbval's comparison, which takes a number for a word."""
    cell = nbformat.from_dict(
        {"outputs": stored, "metadata": item.cell.metadata}
    )
    item.comparison_traceback = differences(cell, outputs)
    return not item.comparison_traceback


class Lesson(nbval.plugin.IPyNbFile):
    """A lesson whose kernel computes as another processor does."""

    def setup(self):
        with mock.patch.dict(os.environ, ARITHMETIC[self.arithmetic]):
            super().setup()


class OtherArithmetic:
    """Collects lessons that train nothing again, in arithmetic ``name``."""

    def __init__(self, name):
        self.name = name

    def pytest_collect_file(self, file_path, parent):
        if file_path.suffix != ".ipynb" or not trains_nothing(file_path):
            return None
        file = file_path.relative_to(parent.config.rootpath).as_posix()
        nodeid = f"{file}[{self.name}]"
        lesson = Lesson.from_parent(parent, path=file_path, nodeid=nodeid)
        lesson.arithmetic = self.name
        return lesson


def trains_nothing(path):
    """Whether all cells are compared but those that only a reader runs."""
    cells = nbformat.read(path, as_version=4).cells
    tags = [cell.metadata.get("tags", []) for cell in cells]
    return all("live" in t for t in tags if "nbval-ignore-output" in t)


def pytest_configure(config):
    nbval.plugin.IPyNbCell.compare_outputs = compare
    config.option.nbval_kernel_startup_timeout = (
        600  # a busy machine is not a bug
    )
    for name in OTHERS if config.option.nbval else ():
        config.pluginmanager.register(OtherArithmetic(name), name)
