"""What a page loads: only what it uses, and little of it."""

import re

import pytest
from sphinx.errors import ExtensionError

LANDING = 500_000  # bytes of the landing page and of all that it loads, before compression


def addresses(soup):
    """What a page loads by itself, without what is only asked for later."""
    for tag in soup.select("script[src], link[rel=stylesheet], link[rel=icon], img[src]"):
        yield tag.get("src") or tag["href"]


def test_what_a_page_loads_is_there_and_waits_for_the_text(pages):
    for path, soup in pages.items():
        if path.name == "404.html":  # its addresses begin at the root of the site
            continue
        for address in addresses(soup):
            assert (path.parent / address.partition("?")[0]).is_file(), f"{path}: {address}"
        if path.name == "search.html":  # its template has scripts of its own, which do not wait
            continue
        for script in soup.select("head script[src]"):
            assert script.has_attr("defer"), f"{path}: {script['src']}"


def test_a_page_loads_what_it_uses(pages):
    for path, soup in pages.items():
        loaded = " ".join(addresses(soup))
        assert not re.search("fontawesome|mathjax|thebe|require", loaded, re.IGNORECASE), path
        has_code = bool(soup.select(".highlight"))
        assert ("copybutton.js" in loaded) == has_code, path
        assert ("mystnb" in loaded) == bool(soup.select("div.cell")), path


def test_the_landing_page_is_light(html, pages):
    landing = html / "book" / "index.html"
    files = {landing.parent / a.partition("?")[0] for a in addresses(pages[landing])}
    sizes = {path.name: path.stat().st_size for path in {landing, *files}}
    assert sum(sizes.values()) < LANDING, sizes


def test_a_style_sheet_keeps_what_is_used(book_extension):
    slim = book_extension("light").slim
    css = ".a,.b:hover{x:1}.b{x:2}p{x:3}:is(.b) i{x:4}@media print{.b{x:5}}@media all{.a{x:6}}/* */"
    assert slim(css, {"a"}) == ".a{x:1}p{x:3}:is(.b) i{x:4}@media all{.a{x:6}}"


@pytest.mark.parametrize("tex", [r"\foo x", r"\begin{gather} a & b \end{gather}", "x_1_2"])
def test_a_formula_that_would_come_out_wrong_fails_the_build(book_extension, tex):
    with pytest.raises(ExtensionError, match=re.escape(repr(tex))):
        book_extension("formulas").mathml(tex)


def test_formulas_are_spaced_as_by_tex(book_extension):
    mathml = book_extension("formulas").mathml
    assert "mspace" in mathml(r"\tanh c")
    assert "mspace" not in mathml(r"\tanh(c) + \log_{10}(x)")
    assert 'lspace="0"' in mathml("a/b")
    assert mathml("x") == "<math><mi>x</mi></math>"
    assert "<mtable" in mathml(r"\begin{aligned} a &= b \\ c &= d \end{aligned}", block=True)


def test_no_page_has_raw_tex(pages):
    for path, soup in pages.items():
        for formula in soup.select("article .math"):
            assert formula.math, f"{path}: {formula}"
            assert "\\" not in formula.text, f"{path}: {formula.text}"
