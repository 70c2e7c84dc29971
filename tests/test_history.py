"""The history of the decided claims: no gap in it passes, and the Claims page shows all of it."""

import datetime
import re

import pytest
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

from vglib.claims import ANSWERS, all_claims

DECIDED = {n: claim for n, claim in all_claims().items() if {"lesson", "answer"} & set(claim)}


def test_every_entry_is_complete():
    for name, claim in DECIDED.items():
        entries = claim["history"]
        words = "|".join(["holds", "does not", *ANSWERS])  # of old verdicts and of new ones
        assert re.search(f"First stored verdict: ({words})", entries[0]["saw"]), name
        assert [e["date"] for e in entries] == sorted(e["date"] for e in entries), name
        for entry in entries:
            assert set(entry) <= {"date", "saw", "changed", "dropped"}, name
            assert type(entry["date"]) is datetime.date, name
            for field in ("saw", "changed"):
                assert re.fullmatch(r"[^\n]+[.]", entry[field]), f"{name}: {entry[field]}"
            if re.match("no|only the w", entry["changed"], re.IGNORECASE):  # as the build counts
                assert re.match(r"nothing[.]|only the words of", entry["changed"]), name
            assert entry.get("dropped") != [], name


COMPLETE = {"date": datetime.date(2026, 11, 20), "changed": "the bound."}
COMPLETE["saw"] = "First stored verdict: undecided."
WITHOUT = {field: {**COMPLETE, field: ""} for field in COMPLETE}


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], r"claim C1 is decided and has no history: .*\[\[C1.history\]\] with date, saw"),
        ([WITHOUT["date"]], "claim C1: entry 1 of its history .* has no date; wanted are"),
        ([COMPLETE, WITHOUT["saw"]], "claim C1: entry 2 of its history .* has no saw; wanted are"),
        ([{"date": COMPLETE["date"]}], "claim C1: entry 1 .* has no saw and no changed; wanted"),
        ([COMPLETE | {"saw": "It was slow."}], "claim C1: the first entry .* must say under saw"),
    ],
)
def test_the_build_refuses_a_gap(extension, monkeypatch, history, message):
    claim = {"part": "Causes", "kind": "always", "lesson": "causes/none"}
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim | {"history": history}})
    with pytest.raises(ExtensionError, match=message):
        extension.fill_page(None, "book/claims", ["<!-- every claim -->"])


def test_a_decided_claim_without_history_fails_the_build(extension, monkeypatch):
    claim = {"part": "Causes", "kind": "always", "lesson": "causes/none"}
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim})
    with pytest.raises(ExtensionError, match="claim C1 is decided and has no history"):
        extension.fill_page(None, "book/claims", ["<!-- every claim -->"])


def test_an_open_claim_needs_no_history(extension, monkeypatch):
    claim = {"part": "Causes", "kind": "can", "short": "Gone", "wording": "It vanishes."}
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim})
    page = ["<!-- every claim -->"]
    extension.fill_page(None, "book/claims", page)
    assert "0 of 1 claims are decided" in page[0]


@pytest.mark.parametrize(
    ("changed", "most"),
    [
        (["nothing."], "nothing"),
        (["only the words of the answer: better ones."], "only the words"),
        (["nothing.", "only the words of the answer: better ones."], "only the words"),
        (["only the words of the answer: better ones.", "the bound."], "rule or runs"),
        (["the bound.", "nothing."], "rule or runs"),
        (["only that second opinion: longer runs."], "rule or runs"),
    ],
)
def test_what_counts_as_changed(extension, changed, most):
    history = [COMPLETE | {"changed": each} for each in changed]
    assert extension.most_changed("C1", {"history": history}) == most


@pytest.fixture(scope="module")
def pages(html):
    """The Claims page, and that of the histories."""
    texts = [
        (html / "book" / f"{name}.html").read_text("utf-8") for name in ("claims", "histories")
    ]
    return [BeautifulSoup(text, "html.parser") for text in texts]


def plain(text):
    """Without what typography makes of quotes and spaces."""
    return " ".join(re.sub("[“”]", '"', text.replace("’", "'")).split())


def test_every_claim_leads_to_its_history_and_that_has_every_entry(pages):
    page, histories = pages
    for name, claim in DECIDED.items():
        card = page.find(id=f"claim-{name.lower()}")
        card = card if "admonition" in card.get("class", []) else card.find_next("div")
        (link,) = [a["href"] for a in card.select("a") if a.text.startswith("Rule and history")]
        assert link == f"histories.html#history-{name.lower()}"
        box = histories.find(id=link.partition("#")[2]).find_next("ul")
        if claim["kind"] != "credit":  # it has no rule
            rule = box.find_previous(lambda tag: tag.name == "p" and tag.text.startswith("Rule."))
            assert plain(claim["because"]) in plain(rule.text), name
        shown = [plain(item.text) for item in box.select("li")]
        assert len(shown) == len(claim["history"]), name
        for entry, item in zip(claim["history"], shown, strict=True):
            for part in (str(entry["date"]), entry["saw"], entry["changed"]):
                assert plain(part) in item, f"{name}: {part}"
            assert ("Dropped:" in item) == ("dropped" in entry), name
            for condition in entry.get("dropped", []):
                assert condition in item, f"{name}: {condition}"


def test_a_claim_that_says_three_things_is_counted_once(extension):
    names = ["C1", "C9a", "C9b", "R21a", "R21b", "R21c"]
    assert extension.judged_apart(names) == {"C9": 2, "R21": 3}


def test_the_page_says_of_how_many_the_rule_was_changed(pages, extension):
    page = pages[0]
    words = plain(page.select_one("article").text)
    assert "states its rule before it measures" not in words
    counts = re.search(
        r"(\d+) of (\d+) claims are decided; (\d+) are parts of (\d+) claims that say two or three "
        r"things[.] After a result had been seen, (\d+) of these (\d+) "
        r"had their rule changed, .*?; (\d+) only the words .*?; (\d+) nothing, as far as",
        words,
    )
    decided, everything, parts, wholes, *counts = map(int, counts.groups())
    changed, again, reworded, untouched = counts
    assert parts == sum(name[-1] in "abc" for name in all_claims())
    assert wholes == sum(name.endswith("a") for name in all_claims())
    assert (decided, again, everything) == (len(DECIDED), len(DECIDED), len(all_claims()))
    titles = [
        link.text for link in page.select("article a") if link.text.startswith("Rule and history")
    ]
    for count, what in (
        (changed, "rule or runs changed after a result"),
        (reworded, "only words changed after a result"),
        (untouched, "no change recorded"),
    ):
        assert sum(f"Rule and history: {what}" in each for each in titles) == count
    assert changed + reworded + untouched == decided
    assert changed > 0
