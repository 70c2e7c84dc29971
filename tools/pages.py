"""What axe finds on each page of the built book, and what it weighs: python -m tools.pages

Writes the table to _build/html/pages.html, beside the book, and fails where axe finds anything.
"""

import gzip
import re
import sys
from datetime import date
from html import escape
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tools.browser import HTML, MISSING, chromium, found, pages
from tools.lessons import ROOT
from tools.release import version

# Code has thousands of coloured words, and axe needs milliseconds for each. One of each colour
# inside elements of the same classes has the contrast of all, so the others become plain text.
UNWRAP_REPEATED_WORDS = """() => {
    const seen = new Set(), repeated = [];
    for (const word of document.querySelectorAll(".highlight span")) {
        let key = getComputedStyle(word).color;
        for (let node = word; node; node = node.parentElement) key += "/" + node.className;
        if (word.children.length === 0 && seen.has(key)) repeated.push(word);
        seen.add(key);
    }
    for (const word of repeated) word.replaceWith(word.textContent);
}"""
COMPRESSED = {".html", ".css", ".js", ".svg", ".json"}  # what GitHub Pages sends compressed
HEAD = ["page", "axe, light", "axe, dark", "own HTML, kB", "in all, kB", "sent, kB", "requests"]
STYLE = """body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
table{border-collapse:collapse}th,td{padding:.2rem .8rem;text-align:end}
th:first-child{text-align:start}tr{border-bottom:1px solid #999}:root{color-scheme:light dark}"""


def violations(page: Page, *rules: str) -> list[tuple[str, str, list[str]]]:
    """What axe has against the page as it is: impact, rule and some elements that break it.

    Without ``rules`` by all of its rules.
    """
    page.evaluate(UNWRAP_REPEATED_WORDS)
    # Without preload: axe would ask for style sheets, which a page on disk may not.
    options = {"resultTypes": ["violations"], "preload": False}
    options |= {"runOnly": list(rules)} if rules else {}
    found = Axe().run(page, options=options).response["violations"]
    return [
        (each["impact"], each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
    ]


def turn_dark(page: Page) -> None:
    """Change the page to the dark theme, at once."""
    page.emulate_media(color_scheme="dark")
    page.evaluate(
        """() => {
            Object.assign(document.documentElement.dataset, { mode: "dark", theme: "dark" });
            document.getAnimations().forEach((animation) => animation.finish());
        }"""
    )


def weight(files: list[Path]) -> tuple[int, int]:
    """Bytes of files as they are, and as they are sent."""
    data = [(path.suffix, path.read_bytes()) for path in files]
    sent = (len(gzip.compress(b)) if suffix in COMPRESSED else len(b) for suffix, b in data)
    return sum(len(b) for _, b in data), sum(sent)


def examine(browser, name: str) -> tuple[list, list]:
    """A page's row of the table, and all that axe found."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script("localStorage.mode = localStorage.theme = 'light'")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    path = HTML / f"{name}.html"
    page.goto(path.as_uri())
    page.evaluate("document.fonts.ready")
    ours = [re.sub(r"[?#].*", "", url.removeprefix("file://")) for url in asked]
    files = [Path(file) for file in dict.fromkeys(ours) if file.startswith("/")]
    light = violations(page)
    turn_dark(page)
    dark = violations(page, "color-contrast")  # nothing else changes
    page.context.close()
    raw, sent = weight(files)
    kilobytes = [f"{size / 1000:.0f}" for size in (path.stat().st_size, raw, sent)]
    return [name, len(light), len(dark), *kilobytes, len(files)], light + dark


def table(rows: list[list]) -> str:
    """The rows as a page of their own."""
    head = "".join(f'<th scope="col">{word}</th>' for word in HEAD)
    body = ""
    for name, *cells in rows:
        link = f'<th scope="row"><a href="{name}.html">{escape(name)}</a></th>'
        body += f"<tr>{link}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"
    title = "The pages: accessibility and weight"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style></head><body><main><h1>{title}</h1>
<p>Version {version(ROOT)}, {date.today().isoformat()}. How many rules of axe-core a page breaks, of
any impact, and what a first visit loads: as files, and as sent with gzip.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}</tbody></table></main></body></html>
"""


def main(names: list[str]) -> None:
    """Examine pages, write the table, and fail where axe has anything against one."""
    if found() is None:
        sys.exit(MISSING)
    rows, wrong = [], {}
    with chromium() as browser:
        for name in names:
            row, against = examine(browser, name)
            rows += [row]
            wrong |= {name: against} if against else {}
            print(*row, sep="\t", flush=True)
    (HTML / "pages.html").write_text(table(rows), "utf-8")
    for name, against in wrong.items():
        print(name, *against, sep="\n  ")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(sys.argv[1:] or pages())
