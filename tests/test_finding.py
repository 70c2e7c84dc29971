"""What leads to a page: descriptions, cards, site map, overviews, links between the pages."""

import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from urllib.parse import urldefrag

import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document

from tools.release import version

ROOT = Path(__file__).parents[1]
CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
PAGES = [CONTENTS["root"]]
PAGES += [page["file"] for part in CONTENTS["parts"] for page in part["chapters"]]
PARTS = ("causes", "consequences", "detection", "remedies", "frontier")


@pytest.fixture(scope="module")
def book(pages, html):
    """The pages of the book by their names, in their order."""
    return {name: pages[html / f"{name}.html"] for name in PAGES}


@pytest.fixture(scope="module")
def address():
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["html"]["baseurl"]


def tag(soup, name):
    found = soup.select(f"meta[property='{name}'], meta[name='{name}']")
    assert len(found) == 1, f"{name}: {found}"
    return found[0]["content"]


def test_a_page_says_what_it_is_in_plain_words(book):
    said = {name: tag(soup, "description") for name, soup in book.items()}
    for name, words in said.items():
        assert 40 < len(words) <= 240, f"{name}: {words}"
        assert not re.search(r"[*`$\\{}<>●]|\]\(|&\w+;", words), f"{name}: {words}"
        assert tag(book[name], "og:description") == words
    assert len(set(said.values())) == len(said)


def test_a_page_has_a_card_a_name_and_an_icon(book, html, address):
    for name, soup in book.items():
        assert tag(soup, "og:site_name") == "Vanishing Gradients"
        card = html / tag(soup, "og:image").removeprefix(address)
        assert card.read_bytes().startswith(b"\x89PNG"), name
        icon = soup.select_one("link[rel=icon]")["href"]
        assert ((html / f"{name}.html").parent / icon).is_file()


def test_a_page_says_its_version_and_leads_to_its_source(book):
    told = rf"Version {re.escape(version(ROOT))}, built \d{{4}}-\d\d-\d\d\."
    for name, soup in book.items():
        footer = soup.select_one(".extra_footer").text
        assert re.search(told, footer), f"{name}: {footer}"
        assert date.fromisoformat(re.search(r"built ([\d-]+)\.", footer)[1])
        suffix = "ipynb" if name.startswith("lessons/") else "md"
        links = [a["href"] for a in soup.select(".article-header-buttons a[href]")]
        assert any(link.endswith(f"/edit/main/{name}.{suffix}") for link in links), name
        assert any("/issues/new" in link for link in links), name


def test_the_site_map_has_every_page(html, address):
    found = re.findall(r"<loc>(.*?)</loc>", (html / "sitemap.xml").read_text("utf-8"))
    assert found == sorted(f"{address}{name}.html" for name in PAGES)


def test_a_wrong_address_leads_on(pages, html, address):
    soup = pages[html / "404.html"]
    base = soup.select_one("head base")["href"]
    assert address.endswith(base)
    assert not soup.select_one("base").find_all_previous(["link", "script"])
    for link in soup.select("article a[href], nav.bd-links a[href]"):
        if not link["href"].startswith("#"):
            assert (html / urldefrag(link["href"]).url).is_file(), link["href"]


def test_the_first_address_forwards(pages, html):
    soup = pages[html / "index.html"]
    assert soup.select_one("meta[http-equiv=refresh]")["content"] == f"0; url={PAGES[0]}.html"
    assert soup.title.text
    assert soup.html["lang"]


def leads_to(html, name, link):
    """The page that a link on ``name`` leads to, by its name; None for another host."""
    if ":" in link:
        return None
    path = ((html / f"{name}.html").parent / urldefrag(link).url).resolve()
    return path.relative_to(html.resolve()).with_suffix("").as_posix() if path != html else name


def test_a_chapter_leads_to_its_lessons_and_a_lesson_to_its_chapter(book, html):
    for name, soup in book.items():
        folder, part = f"{name}/".split("/")[:2]
        if part not in PARTS or name.endswith("/index"):
            continue
        links = {leads_to(html, name, a["href"]) for a in soup.select("article a[href]")}
        following = PAGES[PAGES.index(name) + 1]
        if folder == "book" and following.startswith("lessons/"):
            assert following in links, name
        if folder == "lessons":
            before = PAGES[: PAGES.index(name)]
            chapter = next(one for one in reversed(before) if one.startswith("book/"))
            assert chapter in links, f"{name} does not lead back to {chapter}"


def test_every_page_has_its_neighbours(book, html):
    for name, soup in book.items():
        for side, step in (("left-prev", -1), ("right-next", 1)):
            place = PAGES.index(name) + step
            link = soup.select_one(f".prev-next-area a.{side}")
            wanted = PAGES[place] if 0 <= place < len(PAGES) else None
            assert (leads_to(html, name, link["href"]) if link else None) == wanted, name


@pytest.mark.parametrize("part", PARTS)
def test_the_overview_of_a_part_has_its_chapters_and_claims(book, html, part):
    name = f"book/{part}/index"
    links = [leads_to(html, name, a["href"]) for a in book[name].select("article a[href]")]
    for page in PAGES:
        if page.split("/")[1:2] == [part] and page != name:
            assert page in links, page
    for row in book[name].select("tr[data-answer]"):
        claim = book["book/claims"].find(id=urldefrag(row.a["href"]).fragment)
        assert claim, row
        there = book["book/claims"].select_one(f"tr a[href='#{claim['id']}']").find_parent("tr")
        assert there["data-answer"] == row["data-answer"]


def test_a_description_is_made_of_whole_sentences(book_extension):
    description = book_extension("finding").description
    document = new_document("page")
    section = nodes.section("", nodes.title("", "A page"))
    section += nodes.paragraph("", "", nodes.Text("One of "), nodes.math("", "x"), nodes.Text("."))
    section += nodes.paragraph("", "Not this one.")
    document += section
    assert description(document) == "One of."
    section[1][0] = nodes.Text("A sentence of some length, so to say. " * 9)
    assert description(document) == " ".join(["A sentence of some length, so to say."] * 5)


def test_search_on_disk_has_the_text_of_every_page(html):
    texts = (html / "_static" / "texts.js").read_text("utf-8")
    for name in PAGES:
        assert f'"{name}": "<div role=' in texts


def test_headings_come_in_order(book):
    for name, soup in book.items():
        levels = [int(heading.name[1]) for heading in soup.select("article :is(h1,h2,h3,h4,h5,h6)")]
        assert levels[0] == 1, name
        assert levels.count(1) == 1, name
        steps = [after - before for before, after in pairwise(levels)]
        assert max(steps, default=0) <= 1, f"{name}: {levels}"
