"""Fixtures that several test files share."""

import importlib.util
import os
from pathlib import Path

import matplotlib
import pytest
from hypothesis import HealthCheck, settings

from vglib.tasks import digits

ROOT = Path(__file__).resolve().parents[1]
matplotlib.use("Agg")
# A busy machine is not a bug.
settings.register_profile("course", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("course")


@pytest.fixture(scope="session")
def root():
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def html():
    """The folder of the built book; `make test` builds it first."""
    path = ROOT / "_build" / "html"
    assert (path / "index.html").exists(), "the book is not built: run `make book` (or `make test`)"
    return path


def load(path):
    """A Sphinx extension of the book; they are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def extension(root):
    """The Sphinx extension that writes the Claims page."""
    return load(root / "book" / "extensions" / "course.py")


@pytest.fixture(scope="session")
def cards(root):
    """The Sphinx extension that finds what needs a card."""
    return load(root / "book" / "extensions" / "cards.py")


@pytest.fixture(scope="session")
def book_extension(root):
    """Any Sphinx extension of the book, by its name."""
    return lambda name: load(root / "book" / "extensions" / f"{name}.py")


@pytest.fixture(scope="session")
def pages(html):
    """Every page of the book itself, parsed."""
    from bs4 import BeautifulSoup  # not where only the library is tested

    found = [p for p in html.rglob("*.html") if "_static" not in p.parts]
    return {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in found}


@pytest.fixture(scope="session")
def batch():
    """256 digits in float64."""
    return digits().train.sample(256, seed=0)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    pytest.importorskip("playwright.sync_api")
    from tools.browser import MISSING, chromium, found

    if found() is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with chromium() as running:
        yield running
