"""The built pages as files: alt text, sizes, claims, launch buttons."""

import json
import pkgutil
import re
from importlib import import_module

import pytest
from bs4 import BeautifulSoup
from docutils import nodes

import vglib
from tools.essentials import TRACK, following
from vglib.claims import all_claims

BUDGET = 200_000  # bytes of a page's own HTML and images


def page(pages, html, name):
    return pages[html / f"{name}.html"]


def content(soup):
    return soup.select("article img")


def test_every_image_has_an_alt_text_that_says_something(pages):
    for path, soup in pages.items():
        for image in content(soup):
            alt = image.get("alt", "")
            assert len(alt) > 40, f"{path}: {image.get('src')} has alt text {alt!r}"
            assert ".png" not in alt


def test_pages_keep_to_their_budget(pages):
    for path, soup in pages.items():
        sources = {image["src"] for image in content(soup) if ":" not in image["src"]}
        size = path.stat().st_size + sum((path.parent / s).stat().st_size for s in sources)
        assert size < BUDGET, f"{path}: {size} bytes"


def test_pages_have_a_description_and_no_foreign_scripts(pages):
    for path, soup in pages.items():
        for tag in soup.select("script[src], link[rel=stylesheet], img"):
            address = tag.get("src") or tag.get("href")
            assert not address.startswith(("http:", "https:", "//")), f"{path}: {address}"
        if soup.select_one("article h1") and path.stem not in ("404", "search"):
            assert soup.select_one("meta[name=description]")["content"], path


def test_numbers_are_glued_into_the_chapter(pages, html):
    soup = page(pages, html, "book/causes/depth")
    glued = [tag.text for tag in soup.select(".number")]
    assert len(glued) > 10
    assert all(re.search(r"\d|A kilometre", text) for text in glued), glued
    figures = soup.select("article figure")
    assert figures
    assert all(figure.select_one("figcaption .caption-number") for figure in figures)


def test_every_claim_has_its_anchor_and_owned_ones_a_verdict(pages, html):
    soup = page(pages, html, "book/claims")
    for name, claim in all_claims().items():
        anchor = soup.find(id=f"claim-{name.lower()}")
        assert anchor, name
        if "lesson" in claim:
            card = soup.find(id=f"claim-{name.lower()}")
            card = card if "admonition" in card.get("class", []) else card.find_next("div")
            said = card.text.replace("’", "'")
            said, title, wording = (
                " ".join(said.split()),
                f"{name}. {claim['short']}",
                claim["wording"],
            )
            assert said.startswith(f"{title} {wording} ("), said
            verdict = rf"[✓◐✗?] (\w+ ?)+\. {re.escape(' '.join(claim['says'].split()))}"
            assert re.search(verdict, said[len(title) + len(wording) :]), name
            assert re.search(r"True in \d+ of \d+ settings", card.small.text), name
            assert card.select_one("a[href*='lessons/']")["href"].count("#") == 1
        if name.endswith("a"):  # what was split keeps its address
            assert soup.find(id=f"claim-{name[:-1].lower()}"), name


def test_links_to_verdicts_lead_to_headings(pages, html):
    soup = page(pages, html, "book/claims")
    for link in soup.select("article a[href*='lessons/']"):
        path, anchor = link["href"].split("#")
        target = pages[(html / "book" / path).resolve()]
        assert target.find(id=anchor), link["href"]


def test_lessons_and_only_lessons_can_be_launched(pages, html):
    lesson = str(page(pages, html, "lessons/causes/depth"))
    colab = "https://colab.research.google.com/github/vanishing-gradients/course/blob/main/"
    binder = "https://mybinder.org/v2/gh/vanishing-gradients/course/main?urlpath=lab/tree/"
    for start in (colab, binder):
        assert f"{start}lessons/causes/depth.ipynb" in lesson
        assert start not in str(page(pages, html, "book/causes/depth"))


def test_the_api_page_has_every_public_name(pages, html):
    soup = page(pages, html, "book/api")
    for info in pkgutil.iter_modules(vglib.__path__, "vglib."):
        if info.ispkg or info.name == "vglib.checks":  # of one's own and of lessons
            continue
        module = import_module(info.name)
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and callable(value) and not name.startswith("_"):
                assert value.__doc__, f"{module.__name__}.{name} has no docstring"
                assert soup.find(id=f"{module.__name__}.{name}"), f"{module.__name__}.{name}"


def article(soup):
    return soup.select_one("article")


def test_every_essential_page_leads_to_the_next_one(pages, html):
    assert article(page(pages, html, "book/index")).select_one("a[href='causes/depth.html']")
    for name in TRACK[1:]:
        box = article(page(pages, html, f"book/{name}")).select_one(".vg-essentials")
        assert box, f"book/{name}.md does not say where its essential part ends"
        leads_to = [(html / "book" / name).parent / link["href"] for link in box.select("a")]
        if following(name):
            assert (html / "book" / f"{following(name)}.html").samefile(leads_to[0])
        assert len(box.select("a")) == 1


def test_the_contents_mark_the_essentials_on_every_page(pages, html):
    for path, soup in pages.items():
        marked = {link["href"] for link in soup.select("nav.bd-links a.vg-essential")}
        if path.parent != html:  # index.html only leads on
            assert len(marked) == len(TRACK) - 1, path


def test_next_never_looks_like_here(pages):
    titles = {}
    for path, soup in pages.items():
        if soup.select_one("article h1"):
            titles.setdefault(soup.select_one("article h1").text.rstrip("#"), []).append(path)
    assert {title: paths for title, paths in titles.items() if len(paths) > 1} == {}


def test_every_term_that_is_linked_has_a_card_and_no_other_page_loads_cards(pages):
    for path, soup in pages.items():
        scripts = [tag["src"].split("?")[0] for tag in soup.select("script[src]")]
        scripts = [name for name in scripts if "/tippy/" in name or name.endswith("cards.js")]
        linked = {link["href"] for link in soup.select("article a[href*='#term-']")}
        assert bool(scripts) == bool(linked), path
        if linked:
            cards = (path.parent / scripts[-1]).read_text(encoding="utf-8").splitlines()[0]
            cards = json.loads(cards.partition("=")[2])
            for address in linked:
                card = BeautifulSoup(cards[f'a[href="{address}"]'], "html.parser")
                assert card.select_one("dt").text, address
                assert len(card.select_one("dd").text.split()) > 2, address
                assert "\\(" not in card.text, f"{address}: a card shows no formulas"


def test_what_is_looked_for_on_pages_is_a_term_of_notation(pages, html, cards):
    soup = page(pages, html, "book/notation")
    known = {name for dt in soup.select("dl.glossary dt") for name in names_of(dt)}
    assert {*cards.WORDS, *cards.LETTERS} <= known


def names_of(dt):
    return dt.text.rstrip("#").replace("’", "'").split(", ")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("a leaky ReLU, a ReLU", ["leaky ReLU", "ReLU"]),
        ("with PReLU and SELU", ["leaky ReLU", "ELU"]),
        ("it saturates, and layer 1 starves", ["saturated", "layer 1", "starved"]),
        ("layer 10, non-saturated, against", []),
        ("of queries and keys beside values", ["query"]),
        ("He said that he’s right; He's init, He init", ["He's init", "He's init"]),
    ],
)
def test_words_are_found_as_they_are_written(cards, text, terms):
    assert [term for term, *_ in cards.terms_in(nodes.Text(text))] == terms


def test_cards_that_other_base_seeds_contradict_say_so(pages, html):
    found = []
    for name, claim in all_claims().items():
        if "lesson" in claim:
            cards = page(pages, html, f"lessons/{claim['lesson']}").select(".vg-card")
            (card,) = (c.text for c in cards if c.text.startswith(f"{name}."))
            doubted = "Not confirmed, so read it as undecided." in card
            assert not doubted or "? Undecided." in card, name
            found += [name] * doubted
    shown = json.loads((html / "book" / "claims.json").read_text("utf-8"))["claims"]
    wanted = [c["id"] for c in shown if c.get("confirmed") is False]
    assert found == wanted
    assert "K10" in found
