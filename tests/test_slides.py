"""Slides: one thing to look at on each, what is said beside it, and nothing deeper."""

import pytest
from docutils import nodes
from docutils.utils import new_document

from tests.conftest import load


@pytest.fixture(scope="module")
def extension(root):
    return load(root / "book" / "extensions" / "slides.py")


def section(title, *children):
    found = nodes.section("", nodes.title("", title), *children, ids=[title])
    return found


def text(words):
    return nodes.paragraph("", words)


def page():
    document = new_document("page")
    essentials = nodes.container("", text("Essentials: done."), classes=["vg-essentials"])
    document += section(
        "How fast?",
        nodes.paragraph("", "● Essential, 1 of 9", classes=["vg-track"]),
        text("Before you start. The chain rule."),
        text("Guess."),
        text("Look at the curve."),
        nodes.figure(),
        text("And again."),
        section("What is multiplied?", text("Weights."), nodes.math_block(), text("Slopes.")),
        section("So what?", text("Nothing to look at."), essentials, nodes.table()),
        section("Deeper", nodes.figure()),
    )
    return document


def test_a_page_becomes_slides(extension):
    document = page()
    extension.in_slides(None, document, "book/causes/depth")
    title, question, *slides = document[0].children
    assert (title.astext(), question.astext()) == ("How fast?", "Guess.")
    shown = [(s[0].astext(), [type(n) for n in s[1:-1]], s[-1].astext()) for s in slides]
    assert shown == [
        ("How fast?", [nodes.figure], "Look at the curve.\n\nAnd again."),
        ("What is multiplied?", [nodes.math_block], "Weights.\n\nSlopes."),
        ("So what?", [], "Nothing to look at."),
    ]


def test_what_is_not_essential_stays_a_page(extension):
    document = page()
    extension.in_slides(None, document, "book/causes/time")
    assert len(document[0].children) == len(page()[0].children)
