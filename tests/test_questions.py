"""Questions at the end of chapters: how many, one right answer each, and where wrong ones lead."""

import re
from pathlib import Path
from urllib.parse import urldefrag

import pytest
import yaml
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parents[1]
PARTS = ("causes", "consequences", "detection", "remedies")
CHAPTERS = sorted(
    path.relative_to(ROOT / "book").with_suffix("").as_posix()
    for part in PARTS
    for path in (ROOT / "book" / part).glob("*.md")
    if path.stem not in ("index", "not_learning")  # which teaches nothing
)
FILES = sorted((ROOT / "book" / "questions").rglob("*.yml"))


def read(path):
    return yaml.safe_load(path.read_text("utf-8"))


def test_every_chapter_asks_three_to_five_questions(pages, html):
    for name in CHAPTERS:
        lists = pages[html / "book" / f"{name}.html"].select("ol.vg-check")
        assert len(lists) == 1, f"{name} has no questions"
        assert 3 <= len(lists[0].find_all("li", recursive=False)) <= 5, name


def test_a_question_has_one_right_answer_and_wrong_ones_lead_on(pages, html):
    seen = 0
    for path, soup in pages.items():
        for question in soup.select("ol.vg-check > li"):
            answers = question.find_all("details")
            assert len(answers) >= 2
            assert len({each["name"] for each in answers}) == 1, "one is open at a time"
            assert sum("right" in each["class"] for each in answers) == 1, f"{path}: {question}"
            for each in answers:
                assert each.summary.text.strip()
                said = each.p.text
                assert said.startswith("✓ Yes." if "right" in each["class"] else "✗ No."), said
                if "wrong" in each["class"]:
                    url, anchor = urldefrag(each.select("p a")[-1]["href"])
                    target = pages[(path.parent / url).resolve() if url else path]
                    assert anchor == "" or target.find(id=anchor), f"{path}: {each}"
            seen += 1
    assert seen >= 3 * len(CHAPTERS)


def test_the_right_answer_is_not_always_in_the_same_place():
    places = [
        next(i for i, one in enumerate(question["answers"]) if "right" in one)
        for path in FILES
        for question in read(path)
    ]
    assert all(0.2 < places.count(place) / len(places) < 0.5 for place in (0, 1, 2))


def test_no_measured_number_is_typed_into_a_question():
    """Small whole numbers belong to a setting; what was measured has digits or a power of ten."""
    for path in FILES:
        for question in read(path):
            words = [question["ask"]]
            words += [text for one in question["answers"] for text in one.values()]
            for text in words:
                found = re.findall(r"\d\.\d+|\d\s*×\s*10|10\^", text)
                given = {"0.05", "0.01", "0.58", "1.2"}  # of a setting, or by hand
                assert set(found) <= given, f"{path.name}: {text}"


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"ask": "?"}, "two at least"),
        ({"ask": "?", "answers": [{"say": "a", "right": "b"}]}, "two at least"),
        ({"ask": "?", "answers": [{"say": "a", "right": "b"}] * 2}, "exactly one"),
        ({"ask": "?", "answers": [{"say": "a", "right": "b"}, {"say": "c", "wrong": "d"}]}, "see"),
    ],
)
def test_a_question_that_cannot_be_put_is_refused(book_extension, question, complaint):
    with pytest.raises(ExtensionError, match=complaint):
        book_extension("questions").check("a.yml", question)
