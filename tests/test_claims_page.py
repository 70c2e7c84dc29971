"""The Claims page: what its build refuses, its tables, and the same data beside it."""

import json
from itertools import groupby

import jsonschema
import pytest
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

from tools.confirm import confirmation, read
from vglib.claims import ANSWERS, VERDICT_MIME, all_claims

SHOWN = {word: f"{mark} {word}" for word, (mark, _) in ANSWERS.items()}


@pytest.fixture(scope="module")
def page(html):
    return BeautifulSoup((html / "book" / "claims.html").read_text("utf-8"), "html.parser")


@pytest.fixture(scope="module")
def verdicts(root):
    """The verdict of the owning lesson by claim, as its notebook stores it; a credit's answer."""
    found = {}
    for name, claim in all_claims().items():
        path = root / "lessons" / f"{claim.get('lesson')}.ipynb"
        cells = json.loads(path.read_text("utf-8"))["cells"] if "lesson" in claim else []
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        stored = [data[VERDICT_MIME] for data in outputs if VERDICT_MIME in data]
        found[name] = next((each for each in stored if each["claim"] == name), None)
        if word := claim.get("answer"):
            found[name] = {"answer": word, "effect": {"text": ""}, "conditions": []}
    return found


@pytest.fixture(scope="module")
def unconfirmed(verdicts):
    """The claims whose answer runs at other base seeds did not confirm."""
    record = read()
    judged = {name: v for name, v in verdicts.items() if v and v["conditions"]}
    return {name for name, v in judged.items() if confirmation(v, record).confirmed is False}


def plain(text):
    """Without what typography makes of quotes and spaces."""
    return " ".join(text.replace("’", "'").split())


def test_each_part_starts_with_a_table_of_its_claims(page, verdicts, unconfirmed):
    parts = groupby(all_claims().items(), key=lambda item: item[1]["part"])
    tables = page.select("table.vg-claims")
    for table, (part, group) in zip(tables, parts, strict=True):
        assert table.find_previous_sibling().name == "h2", part
        assert plain(table.find_previous_sibling().text).startswith(part)
        for row, (name, claim) in zip(table.select("tbody tr"), group, strict=True):
            what, answer, effect, where = row.find_all(["th", "td"])
            assert plain(what.text) == f"{name} {claim['short']}"
            assert page.select_one(what.a["href"]), name
            verdict = verdicts[name]
            word = verdict["answer"] if verdict else "not tested"
            if name in unconfirmed:
                word = "undecided"
            assert plain(answer.text) == SHOWN[word], name
            assert plain(effect.text) == plain(verdict["effect"]["text"] if verdict else ""), name
            assert row["data-answer"] == plain(answer.b.find(string=True, recursive=False)), name
            links = [link["href"] for link in where.select("a")]
            assert len(links) == ("lesson" in claim), name
            assert all(f"lessons/{claim['lesson']}.html#" in link for link in links), name


def test_a_credit_says_where_it_was_read_and_where_it_is_told(page, data):
    credits = {name: c for name, c in all_claims().items() if c["kind"] == "credit"}
    assert credits
    for name, claim in credits.items():
        card = page.find(id=f"claim-{name.lower()}")
        card = card if "admonition" in card.get("class", []) else card.find_next("div")
        assert plain(claim["says"]) in plain(card.text), name
        assert plain(f"Read at: {claim['place']}.") in plain(card.small.text), name
        where, _, anchor = claim["treated"].partition("#")
        assert card.select_one(f"a[href='{where}.html#{anchor}']"), name
        (told,) = [each for each in data["claims"] if each["id"] == name]
        assert (told["answer"], told["place"]) == (claim["answer"], claim["place"])


def test_the_page_says_what_each_answer_means(page):
    items = [plain(item.text) for item in page.select("ul.vg-answers li")]
    assert len(items) == len(SHOWN)
    for item, shown in zip(items, SHOWN.values(), strict=True):
        assert item.startswith(f"{shown} ")
        assert len(item) > len(shown) + 10


@pytest.mark.parametrize(
    ("short", "has"), [({}, "none"), ({"short": ""}, "none"), ({"short": "a" * 61}, "61: 'aaa")]
)
def test_the_build_refuses_a_claim_without_a_short_form(extension, monkeypatch, short, has):
    claim = {"part": "Causes", "kind": "can", "wording": "It vanishes."} | short
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim})
    message = f"claim C1: .* wants short, the claim itself in at most 60 characters; it has {has}"
    with pytest.raises(ExtensionError, match=message):
        extension.fill_page(None, "book/claims", ["<!-- every claim -->"])
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim | {"short": "a" * 60}})
    extension.fill_page(None, "book/claims", ["<!-- every claim -->"])


LAW = {
    "part": "Causes",
    "kind": "always",
    "short": "Gone",
    "wording": "It vanishes.",
    "lesson": "causes/none",
    "quantity": "number",
    "at_least": 1.0,
    "because": "It is one.",
    "usual": ["a"],
    "stress": ["b"],
    "says": "It vanishes in both.",
    "fails": ["b"],
    "history": [{"date": "2026-11-27", "saw": "First stored verdict: yes.", "changed": "nothing."}],
}
CREDIT = {"part": "Credits", "kind": "credit", "short": "X found it", "wording": "X found it."}
CREDIT |= {"answer": "no", "says": "Y did.", "place": "section 2", "history": LAW["history"]}


def build(extension, monkeypatch, claim, answers=("true", "false")):
    """The Claims page of one made-up claim C1, whose lesson found ``answers``."""
    numbers = {"usual": True, "median": 1.0, "low": 1.0, "high": 1.0, "marks": []}
    found = {"claim": "C1", "kind": "always", "answer": "usually", "quantity": "number"}
    found |= {"effect": {"text": "1.0"}, "holding": 1, "tried": 2, "usual": "yes"}
    pairs = zip("ab", answers, strict=True)
    found["conditions"] = [{"name": name, "answer": so} | numbers for name, so in pairs]
    output = {"data": {VERDICT_MIME: found}}
    cells = [{"cell_type": "markdown", "source": "## How we decide"}, {"cell_type": "code"}]
    cells[1] |= {"source": "", "outputs": [output]}
    monkeypatch.setattr(extension, "read_lesson", lambda app, lesson: cells)
    claim = {field: value for field, value in claim.items() if value is not None}
    monkeypatch.setattr(extension, "read_confirmations", dict)  # not those of the real C1
    monkeypatch.setattr(extension, "all_claims", lambda: {"C1": claim})
    page = ["<!-- every claim -->"]
    extension.fill_page(None, "book/claims", page)
    return page[0]


def test_a_claim_that_lacks_nothing_is_shown(extension, monkeypatch):
    page = build(extension, monkeypatch, LAW)
    assert "</i> usually</b>.</span> It vanishes in both." in page
    assert "*False:* b." in page
    assert "True in 1 of 2 settings." in page
    page = build(extension, monkeypatch, CREDIT)
    assert "</i> no</b>.</span> Y did." in page
    assert "Read at: section 2." in page
    assert "*Not tested.*" in build(extension, monkeypatch, LAW | {"lesson": None})


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (LAW | {"kind": None}, "wants kind, one of always, can, .*; it has None"),
        (LAW | {"kind": "often", "lesson": None}, "wants kind, one of .*; it has 'often'"),
        (LAW | {"because": None}, "wants because, why the bound stands where it does"),
        (LAW | {"says": None}, "wants says; it has none"),
        (LAW | {"stress": ["a"]}, "wants usual and stress, each setting once"),
        (LAW | {"stress": None, "fails": None}, "another outcome .* b: false, not listed"),
        (LAW | {"fails": None}, "another outcome than lesson causes/none .* b: false, not true"),
        (LAW | {"undecided": ["a"]}, "another outcome .*: a: true, not undecided"),
        (LAW | {"stress": ["b", "c"]}, "another outcome .*: c: not tried, not true"),
        (CREDIT | {"place": None}, "is a credit: .* wants answer, says and place, .* no place"),
        (CREDIT | {"answer": "perhaps"}, "its answer must be one of yes, usually, "),
    ],
)
def test_the_build_refuses_a_claim_that_lacks_something(extension, monkeypatch, claim, message):
    with pytest.raises(ExtensionError, match=f"claim C1.*{message}"):
        build(extension, monkeypatch, claim)


def test_the_build_refuses_another_outcome(extension, monkeypatch):
    with pytest.raises(ExtensionError, match=r"claim C1: its sentence .*: a: undecided, not true"):
        build(extension, monkeypatch, LAW, answers=("undecided", "false"))


@pytest.fixture(scope="module")
def data(html):
    return json.loads((html / "book" / "claims.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def schema(html):
    return json.loads((html / "book" / "claims.schema.json").read_text("utf-8"))


def test_the_data_beside_the_page_fit_their_schema(page, data, schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema)
    links = {link["href"] for link in page.select("article a")}
    assert {"claims.json", "claims.schema.json"} <= links


@pytest.mark.parametrize(
    ("wrong", "of"),
    [
        ({"answer": "holds"}, "C1"),
        ({"kind": "often"}, "C1"),
        ({"says": None}, "C1"),
        ({"confirmed": "yes"}, "C1"),
        ({"answer": "not tested"}, "C1"),
        ({"answer": "yes"}, "B2"),
        ({"conditions": []}, "C1"),
        ({"short": "a" * 61}, "C1"),
        ({"place": 1}, "C1"),
        ({"history": [{"date": "today", "saw": "a", "changed": "b"}]}, "C1"),
    ],
)
def test_the_schema_refuses_other_data(data, schema, wrong, of):
    claims = [each | wrong if each["id"] == of else each for each in data["claims"]]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"claims": claims}, schema)


def test_the_data_say_what_the_page_and_the_lessons_say(page, data, verdicts):
    assert [each["id"] for each in data["claims"]] == list(all_claims())
    rows = page.select("table.vg-claims tbody tr")
    for each, row in zip(data["claims"], rows, strict=True):
        name, claim = each["id"], all_claims()[each["id"]]
        what, answer, *_ = row.find_all(["th", "td"])
        assert plain(what.text) == f"{name} {each['short']}"
        assert plain(answer.text).split(maxsplit=1)[1] == each["answer"]
        for field in ("part", "kind", "wording", "source", "lesson", "says", "because"):
            assert each[field] == claim.get(field), name
        for field in ("usual", "general", "effect", "quantity", "bound", "conditions"):
            assert each[field] == (verdicts[name] or {"conditions": []}).get(field), name
        assert [o["lesson"] for o in each["opinions"]] == [
            opinion["lesson"] for opinion in claim.get("opinions", {}).values()
        ]
        told = [entry | {"date": str(entry["date"])} for entry in claim.get("history", [])]
        assert each["history"] == told, name
