"""What pages promise teachers: minutes that are stated, fit their words and add up."""

import re

import pytest
from bs4 import BeautifulSoup

from tools.essentials import PACE, TRACK, essential, words
from tools.lessons import lessons, name_of
from tools.timetable import Minutes, absolute, contents, lead, minutes, text_of
from vglib.claims import all_claims

PARTS = ("Causes", "Consequences", "Detection", "Remedies", "Frontier")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Twelve minutes. The lesson runs in a quarter of a minute.", Minutes(12)),
        ("Five minutes for the essentials, half an hour for all.", Minutes(30, 5)),
        ("Thirteen minutes for the essentials, twenty-three for all.", Minutes(23, 13)),
        ("**Time:** forty minutes to read; the machine needs a minute.", Minutes(40)),
        ("A quarter of an hour.", Minutes(15)),
    ],
)
def test_minutes_are_read_as_they_are_written(line, found):
    assert minutes(f"# A title\n\nSeven minutes of fame.\n\n**Before you start.** {line}") == found


@pytest.mark.parametrize("line", ["The chain rule.", "Some ten minutes, or as many as you like."])
def test_a_page_without_minutes_is_refused(line):
    with pytest.raises(ValueError, match="no minutes found"):
        minutes(f"Before. Ten minutes.\n\n**You need** nothing. {line.replace('ten ', '')}")


def test_every_chapter_and_lesson_says_how_long_it_takes_and_lessons_what_for():
    for part, pages in contents().items():
        read = [page for page in pages if not page.endswith("/index")]  # an overview is looked at
        for page in read if part in PARTS else ():
            assert 5 <= minutes(text_of(page)).whole <= 45, page
            if page.startswith("lessons/"):
                can, needs = lead(text_of(page))
                assert can.startswith(("you can", "you know", "you have seen")), page
                assert needs, page


def test_minutes_of_essentials_are_those_that_their_words_take():
    for page in TRACK[1:]:
        text = text_of(f"book/{page}")
        take = words(essential(text)) / PACE
        assert take - 0.5 <= minutes(text).essential <= take + 2.5, page


def test_links_are_rooted_and_nothing_else_is():
    text = "[a](depth.ipynb), [b](../../book/causes/depth.md#x), [c](https://d.org/e.md), f[0](x)"
    rooted = (
        "[a](/lessons/causes/depth.ipynb), [b](/book/causes/depth.md#x), "
        "[c](https://d.org/e.md), f[0](x)"
    )
    assert absolute(text, "lessons/causes") == rooted


@pytest.fixture(scope="module")
def tables(html):
    """The tables of the page for teachers, by the heading above each."""
    path = html / "book" / "teaching.html"
    soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    return {
        table.find_previous("h2").text.rstrip("#"): [
            row.select("td") for row in table.select("tbody tr")
        ]
        for table in soup.select("article table")
    }


@pytest.mark.parametrize(
    ("plan", "meetings", "total"),
    [
        ("One lecture", 1, 60),
        ("A lab of 90 minutes", 1, 90),
        ("One week", 5, 90),
        ("Four weeks", 8, 90),
    ],
)
def test_plans_add_up_as_they_are_printed(tables, plan, meetings, total):
    rows = [(int(m.text), m.find("strong") is not None) for m, _ in tables[plan]]
    assert [number for number, bold in rows if bold] == [total] * meetings
    assert sum(number for number, bold in rows if not bold) == total * meetings


def test_the_table_has_every_lesson_and_its_claims(tables):
    rows = [cells for cells in tables["All lessons"] if cells[1].text.strip()]
    links = [cells[0].a["href"] for cells in rows]
    assert sorted(links) == sorted(f"../lessons/{name_of(path)}.html" for path in lessons())
    for link, cells in zip(links, rows, strict=True):
        lesson = link.removeprefix("../lessons/").removesuffix(".html")
        owned = {name for name, claim in all_claims().items() if claim.get("lesson") == lesson}
        assert set(cells[4].text.split()) == (owned or {"none"})


def test_misconceptions_are_claims_that_do_not_hold_and_lead_to_their_lesson(tables):
    rows = tables["What students bring along"]
    assert len(rows) > 20
    for said, found, seen in rows:
        name = said.strong.text
        assert all_claims()[name]["short"].replace("'", "’") in said.text.replace("'", "’")
        assert re.search(r"it depends|not usually|not as said|no", found.text)
        assert f"lessons/{all_claims()[name]['lesson']}.html#" in seen.a["href"]
