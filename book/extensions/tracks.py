"""Sphinx extension of the book: the short track, the essentials, and what is deeper."""

from pathlib import Path

from bs4 import BeautifulSoup
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from tools.essentials import TRACK, following

from parts import chapters

# What is deeper, or essential.
PARTS = ("causes", "consequences", "detection", "remedies", "frontier")
DOT = '<span class="vg-dot" role="img" aria-label="essential">●</span> '


def page_of(docname):
    """A chapter's path below book/; None for what is none."""
    part, _, path = docname.partition("/")
    return path if part == "book" else None


def chapter_of(docname, root):
    """The chapter that a lesson belongs to; None for what is no lesson."""
    for chapter, lessons in chapters(root, docname.split("/")[1]).items():
        if docname in lessons:
            return chapter
    return None


class Essentials(SphinxDirective):
    """Ends the essential part of a chapter and leads to the next one.

    The argument is the next page's path below ``book/``, such as ``causes/activations``; the last
    page of the track has none.
    """

    optional_arguments = 1

    def run(self):
        page = page_of(self.env.docname)
        given = self.arguments[0] if self.arguments else None
        if page not in TRACK:
            raise ExtensionError(f"{self.env.docname} is not in TRACK of tools/essentials.py")
        if given != following(page):
            wanted = following(page) or "nothing, as it is the last"
            raise ExtensionError(f"{self.env.docname}: after essentials comes {wanted}")
        done = f"**Essentials, {TRACK.index(page) + 1} of {len(TRACK)}: done.**"
        if given:
            lines = [f"{done} Next: {{doc}}`/book/{given}`"]
        else:
            lines = [
                f"{done} Go on with your own network, with [a lesson](/lessons/causes/depth.ipynb),"
                " or with any chapter in the contents."
            ]
        box = nodes.container(classes=["vg-essentials"])
        lines += ["", "Below: deeper."]
        self.state.nested_parse(StringList(lines), 0, box)
        return [box]


def parse(app, docname, line):
    """One paragraph of a page's top: text, and links as (text, page below book/)."""
    paragraph = nodes.paragraph(classes=["vg-track"])
    for piece in line:
        if isinstance(piece, str):
            paragraph += nodes.Text(piece)
        else:
            words, page = piece
            uri = app.builder.get_relative_uri(docname, f"book/{page}")
            paragraph += nodes.reference("", words, refuri=uri, internal=True)
    return paragraph


def mark_top(app, doctree, docname):
    """Say under the title of a chapter or lesson whether it is essential or deeper."""
    if app.builder.format != "html":
        return
    page = page_of(docname)
    part = docname.split("/")[1] if "/" in docname else ""
    if page == TRACK[0] or docname.endswith("/index") or (page not in TRACK and part not in PARTS):
        return
    title = next(doctree.findall(nodes.title))
    if page in TRACK:
        place = f"{TRACK.index(page) + 1} of {len(TRACK)}"
        line = [f"● Essential, {place}, to the line “Below: deeper”"]
    else:
        chapter = chapter_of(docname, Path(app.srcdir))
        line = [f"{'Lesson, optional' if chapter else 'Deeper'} · not one of "]
        line += [("the essentials", TRACK[0])]
        line += [" · belongs to ", ("this chapter", page_of(chapter))] if chapter else []
    title.parent.insert(title.parent.index(title) + 1, parse(app, docname, line))


def mark_contents(app, pagename, templatename, context, doctree):
    """Mark the essential pages in the contents, and tell lessons from chapters."""
    if "generate_toctree_html" not in context:
        return
    generate = context["generate_toctree_html"]
    essentials = {app.builder.get_relative_uri(pagename, f"book/{page}") for page in TRACK}
    here = page_of(pagename) in TRACK

    def marked(kind, **keywords):
        found = generate(kind, **keywords)
        if kind != "sidebar" or not found:
            return found
        soup = BeautifulSoup(str(found), "html.parser")
        for link in soup.select("a[href]"):
            if link["href"] in essentials or (link["href"] == "#" and here):
                link["class"] = [*link.get("class", []), "vg-essential"]
                link.insert(0, BeautifulSoup(DOT, "html.parser"))
            elif link.text.startswith("Lesson"):
                link["class"] = [*link.get("class", []), "vg-lesson"]
        key = '<p class="vg-key">● the essentials: an hour</p>'
        soup.insert(0, BeautifulSoup(key, "html.parser"))
        return soup

    context["generate_toctree_html"] = marked


def setup(app):
    app.add_directive("essentials", Essentials)
    app.connect("doctree-resolved", mark_top)
    app.connect("html-page-context", mark_contents, priority=950)  # the theme's function is there
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
