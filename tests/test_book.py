"""The built pages as files: alt text, sizes, claims, launch buttons."""

import re

import pytest
from bs4 import BeautifulSoup

from vglib.claims import all_claims

BUDGET = 200_000  # bytes of a page's own HTML and images


@pytest.fixture(scope="module")
def pages(html):
    """Every page of the book itself, parsed."""
    found = [p for p in html.rglob("*.html") if "_static" not in p.parts]
    return {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in found}


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
        if soup.select_one("article h1") and path.stem not in ("genindex", "search", "py-modindex"):
            assert soup.select_one("meta[name=description]")["content"], path


def test_numbers_are_glued_into_the_chapter(pages, html):
    soup = page(pages, html, "book/causes/depth")
    glued = [tag.text for tag in soup.select(".number")]
    assert len(glued) > 10
    assert all(re.search(r"\d|A kilometre", text) for text in glued), glued
    assert len(soup.select("figure figcaption .caption-number")) == 4


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
    import vglib.anatomy
    import vglib.batch
    import vglib.claims
    import vglib.diagnosis
    import vglib.figures
    import vglib.monitor
    import vglib.nets
    import vglib.plots
    import vglib.probes
    import vglib.recurrent
    import vglib.tasks
    import vglib.theory
    import vglib.training
    import vglib.trials

    soup = page(pages, html, "book/api")
    for module in (
        vglib.tasks,
        vglib.batch,
        vglib.nets,
        vglib.theory,
        vglib.probes,
        vglib.recurrent,
        vglib.monitor,
        vglib.training,
        vglib.anatomy,
        vglib.trials,
        vglib.diagnosis,
        vglib.plots,
        vglib.figures,
        vglib.claims,
    ):
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and callable(value) and not name.startswith("_"):
                assert value.__doc__, f"{module.__name__}.{name} has no docstring"
                assert soup.find(id=f"{module.__name__}.{name}"), f"{module.__name__}.{name}"
