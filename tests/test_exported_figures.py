"""Figures as they are handed out: whole, with a licence, and understood by others than browsers."""

from xml.etree import ElementTree

import pytest

from tools import figures

PAGE = "book/causes/depth"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.browser
def test_figures_of_a_page_stand_by_themselves(html, browser, tmp_path):
    figures.export(browser, [PAGE], tmp_path, "https://example.org/")
    drawn = sorted(tmp_path.rglob("*.svg"))
    shown = (html / f"{PAGE}.html").read_text("utf-8").count("<figure")
    assert len(drawn) >= shown > 0
    for path in drawn:
        svg = ElementTree.fromstring(path.read_text("utf-8"))
        assert "CC BY 4.0" in svg.findall(f".//{SVG}text")[-1].text
        assert PAGE in svg.findall(f".//{SVG}text")[-1].text
        assert svg.find(f"{SVG}rect").get("fill") == "#fff"  # a page for it
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
