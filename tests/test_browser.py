"""The built pages as a reader meets them, in a headless Chromium."""

from itertools import product
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser

CONTENTS = yaml.safe_load((Path(__file__).parents[1] / "_toc.yml").read_text("utf-8"))
PAGES = [CONTENTS["root"]]
PAGES += [page["file"] for part in CONTENTS["parts"] for page in part["chapters"]]
LESSONS = [page for page in PAGES if page.startswith("lessons/")]


@pytest.fixture
def open_page(browser, html):
    """Open a built page from disk; records what goes wrong in ``page.troubles``."""
    contexts = []

    def open_page(name, *, theme="light", width=1280, **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, **options
        )
        contexts.append(context)
        if options.get("java_script_enabled", True):
            context.add_init_script(
                f"try {{ localStorage.mode = localStorage.theme = '{theme}' }} catch {{}}"
            )
        page = context.new_page()
        page.troubles = []
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and page.troubles.append(message.text),
        )
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("http:", "https:")) and page.troubles.append(request.url)
            ),
        )
        page.goto((html / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def heights(page):
    """Where the measured points stand, left to right on the log axis."""
    points = page.locator("circle.point")
    return [float(points.nth(i).get_attribute("cx")) for i in range(points.count())]


@pytest.mark.parametrize("name", PAGES)
def test_no_error_and_no_request_to_another_host(open_page, name):
    page = open_page(name)
    page.wait_for_timeout(500)
    assert page.troubles == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(open_page, name, theme):
    page = open_page(name, theme=theme)
    results = Axe().run(page).response["violations"]
    ours = [
        (v["id"], [node["html"][:200] for node in v["nodes"]])
        for v in results
        if v["impact"] in ("serious", "critical")
    ]
    assert ours == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_does_not_scroll_sideways(open_page, name):
    page = open_page(name, width=390, has_touch=True, is_mobile=True)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", ["book/index", "lessons/causes/depth"])
def test_the_slider_moves_the_plot_by_mouse(open_page, name):
    page = open_page(name)
    slider = page.locator("input[type=range]").first
    before, sentence = heights(page), page.locator("p[aria-live]").first.text_content()
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert slider.input_value() == "0"
    assert len(heights(page)) == 5 != len(before)
    assert page.locator("p[aria-live]").first.text_content() != sentence


def test_the_slider_moves_the_plot_by_keyboard(open_page):
    page = open_page("book/index")
    slider = page.locator("input[type=range]").first
    slider.focus()
    page.keyboard.press("Home")
    assert len(heights(page)) == 5
    page.keyboard.press("ArrowRight")
    assert len(heights(page)) == 10
    assert slider.get_attribute("aria-valuetext") == "10"
    page.keyboard.press("Tab")
    before = heights(page)
    page.keyboard.press("ArrowDown")  # the next activation
    assert heights(page) != before


def test_the_slider_moves_the_plot_by_touch(open_page):
    page = open_page("book/index", width=390, has_touch=True, is_mobile=True)
    slider = page.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + 3, box["y"] + box["height"] / 2)
    assert len(heights(page)) == 5


@pytest.mark.parametrize("name", LESSONS)
def test_every_state_can_be_reached_and_drawn(open_page, name):
    page = open_page(name)
    figures = page.locator("xpath=//*[starts-with(local-name(), 'vg-slider')]")
    assert figures.count() >= 1
    for number in range(figures.count()):
        figure = figures.nth(number)
        controls = figure.locator("input[type=range], select").all()
        sizes = [
            control.locator("option").count() or int(control.get_attribute("max")) + 1
            for control in controls
        ]
        seen = set()
        for state in product(*map(range, sizes)):
            for control, choice in zip(controls, state, strict=True):
                if control.locator("option").count():
                    control.select_option(index=choice)
                else:
                    control.fill(str(choice))
            drawing = figure.locator("svg[aria-label]")
            points = figure.locator("circle.point").all()
            positions = [float(point.get_attribute("cx")) for point in points]
            assert all(0 < x < float(drawing.get_attribute("width")) for x in positions)
            assert len(positions) >= 2
            label = drawing.get_attribute("aria-label")
            assert figure.locator("p[aria-live]").text_content() in label
            seen.add((label, *positions))
        assert len(seen) == len(list(product(*map(range, sizes))))
    assert page.troubles == []


def test_two_clicks_away_the_gradient_is_there(open_page):
    page = open_page("book/index")
    start = heights(page)
    page.locator("select").nth(0).select_option(label="tanh")
    page.locator("select").nth(1).select_option(label="xavier")
    end = heights(page)
    assert end[0] - end[-1] > 0.9 * (start[0] - start[-1])
    assert abs(end[0] - end[-1]) < 0.1 * abs(start[0] - start[-1])


def test_without_javascript_the_table_is_there(open_page):
    page = open_page("book/index", java_script_enabled=False)
    table = page.locator("figure table").first
    assert table.is_visible()
    assert table.locator("tbody tr").count() == 9
    assert table.locator("tbody td").count() == 45


def test_with_javascript_the_table_is_behind_a_disclosure(open_page):
    page = open_page("book/index")
    table = page.locator("figure table").first
    assert not table.is_visible()
    page.get_by_text("All settings as a table").click()
    assert table.is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_works_in_a_sandboxed_frame(open_page, html, theme):
    """As on Colab: the output's HTML alone, in a frame without same-origin rights."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup((html / "book" / "index.html").read_text(encoding="utf-8"), "html.parser")
    element = soup.find(lambda tag: tag.name.startswith("vg-slider-"))
    output = str(element) + str(element.find_next_sibling("script"))
    page = open_page("book/running", theme=theme)
    page.evaluate(
        """(output) => {
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.style = "width: 600px; height: 900px";
            frame.srcdoc = output;
            document.body.prepend(frame);
        }""",
        output,
    )
    frame = page.frame_locator("iframe")
    frame.locator("input[type=range]").press("Home")
    assert frame.locator("circle.point").count() == 5
    assert page.troubles == []


def test_text_and_marks_follow_the_theme(open_page):
    colours = {}
    for theme in ("light", "dark"):
        page = open_page("book/index", theme=theme)
        colours[theme] = page.locator("svg[aria-label] text").first.evaluate(
            "node => getComputedStyle(node).fill"
        )
    assert colours["light"] != colours["dark"]


def test_mathematics_is_set_from_the_book_s_own_files(open_page):
    page = open_page("book/causes/depth")
    page.wait_for_selector("mjx-container", timeout=15_000)
    assert page.locator("mjx-container").count() > 20


def test_search_finds_a_word(open_page):
    page = open_page("search")
    page.goto(page.url + "?q=sigmoid")
    page.wait_for_selector("ul.search li a", timeout=15_000)
    assert page.locator("ul.search li a").count() >= 2
