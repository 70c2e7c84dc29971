"""The built pages as a reader meets them, in a headless Chromium."""

import json
import re
from itertools import product

import pytest
from playwright.sync_api import expect

from tools.browser import pages
from tools.pages import turn_dark, violations
from vglib.claims import ANSWERS, all_claims

pytestmark = pytest.mark.browser

PAGES = pages()
LESSONS = [page for page in PAGES if page.startswith("lessons/")]
PATIENCE = 180_000  # milliseconds; a busy machine is not a bug
expect.set_options(timeout=PATIENCE)

# All that a page still has to do after it has loaded: fonts, and a drawing that fits.
SETTLED = """async () => {
    await document.fonts.ready;
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
}"""


@pytest.fixture
def open_page(browser, html):
    """Open a built page from disk; records what goes wrong in ``page.troubles``."""
    contexts = []

    def open_page(name, *, theme="light", width=1280, **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, **options
        )
        context.set_default_timeout(PATIENCE)
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
        if options.get("java_script_enabled", True):
            page.evaluate(SETTLED)
        return page

    yield open_page
    for context in contexts:
        context.close()


def heights(page):
    """Where the measured points stand, left to right on the log axis."""
    points = page.locator("circle.point")
    return points.evaluate_all("points => points.map((p) => Number(p.getAttribute('cx')))")


def sentence(page):
    return page.locator("p[aria-live]").first


def become_a_phone(page):
    metrics = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    page.context.new_cdp_session(page).send("Emulation.setDeviceMetricsOverride", metrics)
    page.evaluate(SETTLED)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_errors_in_either_theme_and_fits_a_phone(open_page, name):
    page = open_page(name)
    found = {"light": violations(page)}
    turn_dark(page)
    found["dark"] = violations(page, "color-contrast")  # nothing else changes
    become_a_phone(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    found["on a phone"] = [f"it is {width} pixels wide"] if width > 390 else []
    found["in the console, or from another host"] = page.troubles
    assert {where: wrong for where, wrong in found.items() if wrong} == {}


def test_the_slider_moves_the_plot_by_mouse(open_page):
    page = open_page("lessons/causes/depth")
    slider = page.locator("input[type=range]").first
    before, said = heights(page), sentence(page).text_content()
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(slider).to_have_value("0")
    expect(page.locator("circle.point")).to_have_count(5)
    assert len(before) != 5
    expect(sentence(page)).not_to_have_text(said)


def test_the_slider_moves_the_plot_by_keyboard(open_page):
    page = open_page("lessons/causes/depth")
    slider = page.locator("input[type=range]").first
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("circle.point")).to_have_count(5)
    page.keyboard.press("ArrowRight")
    expect(page.locator("circle.point")).to_have_count(10)
    expect(slider).to_have_attribute("aria-valuetext", "10")
    page.keyboard.press("Tab")
    before, said = heights(page), sentence(page).text_content()
    page.keyboard.press("ArrowDown")  # the next activation
    expect(sentence(page)).not_to_have_text(said)
    assert heights(page) != before


def test_the_slider_moves_the_plot_by_touch(open_page):
    page = open_page("lessons/causes/depth", width=390, has_touch=True, is_mobile=True)
    slider = page.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + 3, box["y"] + box["height"] / 2)
    expect(page.locator("circle.point")).to_have_count(5)


# What each figure with sliders draws and says in every state of its controls.
ALL_STATES = """() => {
    const figures = [...document.querySelectorAll("*")].filter((node) =>
        node.localName.startsWith("vg-slider-"));
    return figures.map((figure) => {
        const root = figure.shadowRoot;
        const controls = [...root.querySelectorAll("input[type=range], select")];
        const sizes = controls.map((control) => control.options?.length ?? Number(control.max) + 1);
        const count = sizes.reduce((product, size) => product * size, 1);
        const states = [];
        for (let state = 0; state < count; state++) {
            let rest = state;
            controls.forEach((control, i) => {
                control.value = rest % sizes[i];
                rest = Math.floor(rest / sizes[i]);
                control.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
            });
            const drawing = root.querySelector("svg[aria-label]");
            states.push({
                chosen: controls.map((control) => Number(control.value)),
                width: Number(drawing.getAttribute("width")),
                label: drawing.getAttribute("aria-label"),
                sentence: root.querySelector("p[aria-live]").textContent,
                points: [...root.querySelectorAll("circle.point")].map((point) =>
                    Number(point.getAttribute("cx"))),
            });
        }
        const data = JSON.parse(figure.querySelector("script").textContent);
        const different = new Set(data.states.map((state) => JSON.stringify(state))).size;
        return { sizes, states, different };
    });
}"""


@pytest.mark.parametrize("name", LESSONS)
def test_every_state_can_be_reached_and_drawn(open_page, root, name):
    page = open_page(name)
    figures = page.evaluate(ALL_STATES)
    assert len(figures) == (root / f"{name}.ipynb").read_text("utf-8").count("<vg-slider-")
    for figure in figures:
        states = figure["states"]
        reached = {tuple(state["chosen"]) for state in states}
        assert reached == set(product(*map(range, figure["sizes"])))
        for state in states:
            assert all(0 < x < state["width"] for x in state["points"]), state
            assert len(state["points"]) >= 2
            assert state["sentence"] in state["label"]
        drawn = {(state["label"], *state["points"]) for state in states}
        assert len(drawn) == figure["different"]  # a network that does not move draws the same
    assert page.troubles == []


def test_without_javascript_the_table_is_there(open_page):
    page = open_page("book/index", java_script_enabled=False)
    table = page.locator("figure table").first
    assert table.is_visible()
    assert table.locator("tbody tr").count() == 9
    assert table.locator("tbody td").count() == 45
    assert not page.get_by_text("ReLU passes gradients on unchanged").is_visible()  # needs a script


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("book/index", "Stored settings as a table"),
        ("book/causes/depth", "All settings as a table"),
    ],
)
def test_with_javascript_the_table_is_behind_a_disclosure(open_page, name, words):
    page = open_page(name)
    table = page.locator("figure table").first
    assert not table.is_visible()
    page.get_by_text(words).click()
    assert table.is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_works_in_a_sandboxed_frame(open_page, html, theme):
    """As on Colab: the output's HTML alone, in a frame without same-origin rights."""
    from bs4 import BeautifulSoup

    lesson = (html / "lessons" / "causes" / "depth.html").read_text(encoding="utf-8")
    soup = BeautifulSoup(lesson, "html.parser")
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
    expect(frame.locator("circle.point")).to_have_count(5)
    assert page.troubles == []


def test_text_and_marks_follow_the_theme(open_page):
    colours = {}
    for theme in ("light", "dark"):
        page = open_page("book/index", theme=theme)
        colours[theme] = page.locator("svg[aria-label] text").first.evaluate(
            "node => getComputedStyle(node).fill"
        )
    assert colours["light"] != colours["dark"]


# The figure on the first page. A picture is what is drawn, but for the width of the page.
PICTURE = "vg-front svg[aria-label]"


def settings_shown(page):
    """The controls of the first page's figure: activation, depth, weight scale, biases."""
    return page.locator("vg-front :is(select, input)").evaluate_all(
        "controls => controls.map((control) => control.value)"
    )


def test_the_first_figure_says_what_the_theory_and_the_lesson_say(open_page, html):
    from bs4 import BeautifulSoup

    page = open_page("book/index")
    soup = BeautifulSoup((html / "book/causes/depth.html").read_text("utf-8"), "html.parser")
    element = soup.find(lambda tag: tag.name.startswith("vg-slider-"))
    states = json.loads(element.script.string)["states"]
    rows = [[cell.text for cell in row("td")] for row in element.table.tbody("tr")]
    names = product((5, 10, 20, 30, 40), ("sigmoid", "tanh", "relu"), ("torch", "xavier", "he"))
    left, points = 74, 0
    for k, (depth, activation, rule) in enumerate(names):
        page.evaluate("hash => { location.hash = hash }", f"net-{activation}-{depth}-{rule}")
        expect(page.locator(PICTURE)).to_have_attribute(
            "aria-label", re.compile(rf" {depth} layers.*{re.escape(rows[k % 9][k // 9])}\.$")
        )
        drawn = page.evaluate(
            """() => {
                const { shadowRoot: root } = document.querySelector("vg-front");
                const svg = root.querySelector("svg[aria-label]");
                const at = (text) => Number(text.getAttribute("x"));
                const ticks = [...svg.querySelectorAll("text:has(tspan)")].map((text) =>
                    [at(text), Number(text.querySelector("tspan").textContent)]);
                const path = svg.querySelector(".line").getAttribute("d");
                return [ticks, path.slice(1).split("L").map((p) => Number(p.split(",")[0])),
                    [...svg.querySelectorAll("circle.point")].map((point) =>
                        Number(point.getAttribute("cx")))];
            }"""
        )
        (low, a), *_, (high, b) = drawn[0]
        _, predicted, median, _, _ = states[k]
        for found, wanted in ((drawn[1], predicted), (drawn[2], median)):
            logs = [a + (x - low) / (high - low) * (b - a) for x in found]
            # Stored logs have two decimals, places on the screen one.
            room = 0.006 + 0.1 * (b - a) / (high - low)
            assert all(abs(x - y) <= room for x, y in zip(logs, wanted, strict=True)), names
        points += len(drawn[2])
        assert low >= left
    assert points == 9 * (5 + 10 + 20 + 30 + 40)
    assert page.troubles == []


def test_the_first_figure_by_keyboard(open_page):
    page = open_page("book/index")
    said = sentence(page).text_content()
    page.locator("vg-front select").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("vg-front select")).to_have_value("relu")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    expect(page.locator("vg-front [name=depth]")).to_have_attribute("aria-valuetext", "60 layers")
    page.keyboard.press("Tab")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator("vg-front [name=scale]")).to_have_attribute("aria-valuetext", "0.605")
    for _ in range(3):  # past PyTorch and Xavier to He
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("vg-front [aria-pressed=true]")).to_have_text("He")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("vg-front svg[aria-label] path.drawn")).to_have_count(1)
    expect(sentence(page)).to_contain_text("The network that you drew last")
    assert sentence(page).text_content() != said
    expect(page).to_have_url(re.compile("#net-relu-60-he-0-1$"))
    expect(sentence(page)).not_to_have_attribute("aria-busy", "true")
    assert page.troubles == []


def test_the_first_figure_by_touch(open_page):
    page = open_page("book/index", width=390, has_touch=True, is_mobile=True)
    before, said = page.locator(PICTURE).inner_html(), sentence(page).text_content()
    slider = page.locator("vg-front [name=depth]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^(29|3[0-3]) layers"))
    expect(sentence(page)).not_to_have_text(said)
    assert page.locator(PICTURE).inner_html() != before
    page.locator("vg-front .draw").tap()
    expect(page.locator("vg-front svg[aria-label] path.drawn")).to_have_count(1)


def test_a_link_restores_what_was_seen(open_page):
    page = open_page("book/index")
    page.locator("vg-front select").select_option("gelu")
    page.locator("vg-front [name=depth]").fill("17")
    page.locator("vg-front [name=scale]").fill("37")
    page.get_by_text("More to try").click()
    page.locator("vg-front [name=bias]").fill("0.35")
    page.get_by_text("Hold this setting").click()
    page.locator("vg-front [name=depth]").fill("25")
    for count in (1, 2, 3):
        page.locator("vg-front .draw").click()
        expect(page.locator("vg-front svg[aria-label] path.drawn")).to_have_count(count)
    expect(page).to_have_url(re.compile("#net-gelu-25-1_9-0_35-3--gelu-17-1_9-0_35$"))
    again = open_page("book/index")
    again.goto(page.url)
    again.reload()  # or the page would be there already, with another hash
    expect(again.locator("vg-front svg[aria-label] path.drawn")).to_have_count(3)
    assert settings_shown(again) == settings_shown(page) == ["gelu", "25", "37", "0.35"]
    for each in (page, again):  # equal sentences say equal numbers, and drawings equal places
        each.pictured = each.locator(PICTURE).evaluate("svg => svg.outerHTML")
    assert again.pictured == page.pictured
    expect(again.locator("vg-front")).to_be_in_viewport()
    assert page.troubles == again.troubles == []


@pytest.mark.parametrize("hash", ["#net-", "#net-toString-3-he", "#net-tanh-1000-he", "#i-teach"])
def test_an_address_that_means_nothing_changes_nothing(open_page, hash):
    page = open_page("book/index")
    before = settings_shown(page)
    page.evaluate("hash => { location.hash = hash }", hash)
    page.evaluate(SETTLED)
    assert settings_shown(page) == before
    assert page.troubles == []


def test_every_saying_sets_two_networks_over_each_other(open_page):
    page = open_page("book/index")
    page.get_by_text("More to try").click()
    links = page.locator("article a[href^='#net-']")  # those in the text come last
    sayings = page.locator("vg-front [slot=sayings] a[href^='#net-']").count()
    assert links.count() > sayings >= 6
    for number, link in enumerate(links.all()):
        before = page.locator(PICTURE).get_attribute("aria-label")
        link.click()
        expect(page).to_have_url(re.compile(re.escape(link.get_attribute("href")) + "$"))
        expect(page.locator(PICTURE)).not_to_have_attribute("aria-label", before)
        held = page.locator("vg-front svg[aria-label] path.held").count()
        assert held == (number < sayings)
        assert ("held: " in page.locator("vg-front .legend").text_content()) == held
    assert violations(page) == []
    assert page.troubles == []


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_message_comes_down(open_page, motion):
    page = open_page("book/index", reduced_motion=motion)
    page.evaluate(
        """() => {
            const root = document.querySelector("vg-front").shadowRoot;
            window.places = new Set();
            new MutationObserver(() => {
                const place = root.querySelector("circle.message")?.getAttribute("cy");
                if (place) window.places.add(place);
            }).observe(root, { childList: true, subtree: true });
        }"""
    )
    page.get_by_text("Send the message down").click()
    expect(sentence(page)).to_have_text(
        re.compile(r"^The message on its way down: layer 10 gets 1, .*layer 1 gets 0\.0051\.$")
    )
    places = page.evaluate("[...window.places].map(Number)")
    assert places == sorted(places)
    assert len(places) == (0 if motion == "reduce" else 10)
    expect(page.locator("vg-front .play")).to_have_text("Send the message down")


def test_two_clicks_away_the_gradient_is_there(open_page):
    page = open_page("book/index")
    assert page.locator("vg-front rect.starved").count() > 3
    page.locator("vg-front select").select_option(label="ReLU")
    page.locator("vg-front .rules button").nth(2).click()
    expect(page.locator("vg-front svg[aria-label] rect.fed")).to_have_count(10)


def test_formulas_are_drawn_without_a_script_and_in_the_book_s_own_font(open_page):
    page = open_page("book/causes/weight_scale", java_script_enabled=False)
    formulas = page.locator("article math")
    assert formulas.count() > 50
    page = open_page("book/causes/weight_scale")
    assert page.evaluate("""document.fonts.check('16px "Course Math"')""")
    # A root is stretched over what is under it.
    root = page.locator("msqrt:visible").first
    inner = root.locator(":scope > *").first
    assert root.bounding_box()["height"] > inner.bounding_box()["height"]


def first_term(page):
    term = page.locator("article a[href*='#term-']").first
    term.scroll_into_view_if_needed()
    return term


def test_a_card_opens_at_the_pointer_and_can_be_pointed_at(open_page):
    page = open_page("book/causes/depth")
    card, term = page.locator(".tippy-box"), first_term(page)
    term.hover()
    expect(card).to_be_visible()
    assert len(card.locator("dd").text_content().split()) > 5
    card.hover()
    page.wait_for_timeout(500)
    expect(card).to_be_visible()
    page.mouse.move(0, 0)
    expect(card).to_have_count(0)
    assert page.troubles == []


def test_a_card_opens_by_keyboard_is_read_out_and_closes_with_escape(open_page):
    page = open_page("book/causes/depth")
    card, term = page.locator(".tippy-box"), first_term(page)
    term.focus()
    expect(card).to_be_visible()
    described = term.get_attribute("aria-describedby")
    assert page.locator(f"#{described}").text_content() == card.text_content()
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/book/notation\.html#term-"))


def test_a_tap_opens_a_card_and_leads_nowhere(open_page):
    page = open_page("book/causes/depth", width=390, has_touch=True, is_mobile=True)
    before = page.url
    first_term(page).tap()
    expect(page.locator(".tippy-box")).to_be_visible()
    box = page.locator(".tippy-box").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.url == before


def shown(page):
    """Claims whose row shows, and claims whose details show."""
    rows = page.locator("tr[data-answer]:visible a[href^='#claim-']").evaluate_all(
        "links => links.map((link) => link.hash.slice(1))"
    )
    details = page.locator(".claim:visible, p[id^=claim-]:visible").evaluate_all(
        "nodes => nodes.map((node) => node.id)"
    )
    return rows, details


def test_the_claims_can_be_filtered_by_answer(open_page):
    page = open_page("book/claims")
    answers = page.locator("tr[data-answer]").evaluate_all(
        "rows => rows.map(r => r.dataset.answer)"
    )
    buttons, sentence = page.locator(".vg-filter button"), page.locator(".vg-filter + p")
    expect(sentence).to_have_attribute("aria-live", "polite")
    words = ["all", *(word for word in ANSWERS if word in answers)]
    part = {f"claim-{name.lower()}": claim["part"] for name, claim in all_claims().items()}
    assert len(words) > 4
    expect(buttons).to_have_count(len(words))
    for button, word in zip(buttons.all(), words, strict=True):
        count = answers.count(word) if word != "all" else len(answers)
        assert re.fullmatch(rf"(. )?{word} \({count}\)", button.text_content())
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".vg-filter [aria-pressed=true]")).to_have_text(button.text_content())
        expect(page.locator(".vg-filter [aria-pressed=false]")).to_have_count(len(words) - 1)
        expect(sentence).to_contain_text(f"{count} of {len(answers)} claims shown")
        rows, details = shown(page)
        assert len(rows) == count
        assert sorted(rows) == sorted(details)
        parts = {part[row] for row in rows}
        assert page.locator("table.vg-claims:visible").count() == len(parts)
        assert page.locator("article h2:visible").count() == len(parts) + 1
        assert violations(page) == []
    buttons.nth(0).click()
    assert len(shown(page)[0]) == len(all_claims())


def test_a_link_to_a_claim_that_is_hidden_shows_it(open_page):
    page = open_page("book/claims")
    page.locator(".vg-filter button[value='not tested']").click()
    expect(page.locator("#claim-c1")).to_be_hidden()
    page.evaluate("location.hash = 'claim-c1'")
    expect(page.locator("#claim-c1")).to_be_in_viewport()
    expect(page.locator(".vg-filter [aria-pressed=true]")).to_have_attribute("value", "all")


def test_the_rest_of_the_book_does_not_load_the_filter(open_page):
    assert open_page("book/claims").locator("script[src*='claims.js']").count() == 1
    assert open_page("book/causes/depth").locator("script[src*='claims.js']").count() == 0


def test_without_javascript_all_claims_show_and_no_buttons(open_page):
    page = open_page("book/claims", java_script_enabled=False)
    assert page.locator(".vg-filter").count() == 0
    assert page.locator("tr[data-answer]:visible").count() == len(all_claims())


@pytest.mark.parametrize(("width", "lines"), [(1280, 2), (390, 4)])
def test_a_claim_needs_few_lines_in_its_table(open_page, width, lines):
    page = open_page("book/claims", width=width)
    heights = page.locator("tr[data-answer]").evaluate_all(
        """rows => rows.map((row) => row.getBoundingClientRect().height /
            parseFloat(getComputedStyle(row).lineHeight))"""
    )
    assert max(heights) < lines + 0.7
    overflow = page.locator(".vg-claims").evaluate_all(
        "tables => Math.max(...tables.map((t) => t.getBoundingClientRect().right)) - innerWidth"
    )
    assert overflow <= 0


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("sigmoid", "book/causes/activations.html"),
        ("dying ReLU", "book/symptoms.html"),
        ("loss stuck at 2.303", "book/symptoms.html"),
        ("nan", "book/symptoms.html"),
    ],
)
def test_search_on_disk_finds_what_people_type_and_shows_where(open_page, words, wanted):
    page = open_page("search")
    page.goto(f"{page.url}?q={words}")
    expect(page.locator(".search-summary")).to_contain_text("found")
    links = [link.split("#")[0] for link in hrefs(page, "ul.search > li > a")]
    assert wanted in links[:6], links
    hit = page.locator(f"ul.search > li:has(> a[href^='{wanted}'])").first
    expect(hit.locator("p.context")).to_contain_text(re.compile(r"\w+ \w+ \w+"))
    assert page.troubles == []


def hrefs(page, selector):
    return page.locator(selector).evaluate_all("links => links.map((a) => a.getAttribute('href'))")


def test_an_answer_opens_by_keyboard_and_closes_the_one_before(open_page):
    page = open_page("book/causes/depth")
    first, second = (page.locator(".vg-check li").first.locator("summary").nth(i) for i in (0, 1))
    first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".vg-answer[open] p").first).to_be_visible()
    page.keyboard.press("Tab")  # the link to the place that shows better, or the next answer
    second.focus()
    page.keyboard.press("Space")
    expect(page.locator(".vg-answer[open]")).to_have_count(1)
    expect(page.locator(".vg-answer[open]")).to_contain_text("Yes.")
    assert violations(page) == []


def test_a_wrong_answer_leads_to_its_place(open_page):
    page = open_page("book/causes/depth", java_script_enabled=False)
    wrong = page.locator(".vg-answer.wrong").first
    wrong.locator("summary").click()
    wrong.locator("p a").last.click()
    expect(page).to_have_url(re.compile("#how-large-is-one-factor$"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_print_shows_code_and_folds_whole(open_page, theme):
    page = open_page("lessons/causes/depth", theme=theme, width=700)
    page.emulate_media(media="print")
    cut = page.locator("article pre").evaluate_all(
        "all => all.filter((pre) => pre.scrollWidth > pre.clientWidth + 1).length"
    )
    assert cut == 0
    closed = page.evaluate(  # but for the sliders' own tables, whose styles are their own
        """[...document.querySelectorAll("article details:not(.vg-answer)")].filter((fold) =>
            fold.offsetHeight <= fold.querySelector("summary").offsetHeight + 2).length"""
    )
    assert closed == 0
    colour = page.locator("article p").first.evaluate("node => getComputedStyle(node).color")
    assert all(int(part) < 110 for part in re.findall(r"\d+", colour)[:3]), colour
