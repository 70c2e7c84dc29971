"""Colab's versions are those that its own list says."""

import pytest

from tools.alone import constraints, needed

FREEZE = """# Do not modify this file
numpy==2.0.2
torch @ https://download.pytorch.org/whl/cu126/torch-2.9.0%2Bcu126-cp312-cp312-linux_x86_64.whl
torchvision @ https://download.pytorch.org/whl/cu126/torchvision-0.24.0%2Bcu126-cp312.whl
ipywidgets==7.7.1
Pillow==11.3.0
"""


def test_versions_are_taken_from_a_frozen_list():
    found = constraints(FREEZE, ["torch", "numpy", "ipywidgets"])
    assert found == ["torch==2.9.0", "numpy==2.0.2", "ipywidgets==7.7.1"]


def test_a_list_without_what_lessons_need_is_refused():
    with pytest.raises(ValueError, match="must have scipy, tqdm"):
        constraints(FREEZE, ["numpy", "scipy", "tqdm"])


def test_all_that_pyproject_names_is_needed(root):
    assert {"torch", "numpy", "ipywidgets", "scikit-learn"} <= set(needed(root))
