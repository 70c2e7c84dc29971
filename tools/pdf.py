"""Print the built book into one PDF: python -m tools.pdf [PAGE ...]

Folds are printed open, but for answers to questions. Links lead to the published book, or stay
within their page. Without pages, such as book/causes/depth, it prints all, into _build/course.pdf.
"""

import io
import sys
from html import escape
from pathlib import Path

from pypdf import PdfWriter

from tools.browser import HTML, MISSING, ROOT, chromium, found, pages

OUT = ROOT / "_build" / "course.pdf"
PREPARE = """() => {
    for (const fold of document.querySelectorAll("details:not(.vg-answer)")) fold.open = true;
    const published = document.querySelector("link[rel=canonical]").href;
    for (const link of document.querySelectorAll("a[href]")) {
        const to = link.getAttribute("href");
        if (!to.startsWith("#")) link.href = new URL(to, published).href;
    }
    return document.fonts.ready.then(() => document.querySelector("h1").innerText);
}"""
FOOTER = """<div style="font-size: 7pt; width: 100%; margin: 0 12mm; display: flex;
justify-content: space-between"><span>{title}</span>
<span><span class="pageNumber"></span> / <span class="totalPages"></span></span></div>"""


def printed(page, name: str) -> tuple[str, bytes]:
    """The title of a page of the book, and the page as PDF."""
    page.goto((HTML / f"{name}.html").as_uri())
    title = page.evaluate(PREPARE).rstrip("#").strip()
    pdf = page.pdf(
        format="A4",
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER.format(title=escape(title)),
        margin={"top": "14mm", "bottom": "16mm", "left": "14mm", "right": "14mm"},
    )
    return title, pdf


def main(names: list[str], out: Path = OUT) -> None:
    """Print the pages ``names``, one after the other, each with a bookmark."""
    if found() is None:
        sys.exit(MISSING)
    writer = PdfWriter()
    with chromium() as browser:
        page = browser.new_context(color_scheme="light").new_page()
        page.add_init_script("localStorage.mode = localStorage.theme = 'light'")
        for name in names:
            title, pdf = printed(page, name)
            writer.append(io.BytesIO(pdf), outline_item=title)
            print(f"{name}: to page {len(writer.pages)}", flush=True)
    writer.compress_identical_objects()
    writer.write(out)
    print(f"{out}: {len(writer.pages)} pages, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:] or pages())
