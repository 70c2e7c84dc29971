"""Sphinx extension of the book: the overview of a part, its chapters with what was found there."""

from html import escape
from itertools import chain
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from tools.timetable import contents
from vglib.claims import all_claims

from course import answer_html, short, verdict_on


def chapters(root, part):
    """The chapters of a part in their order, each with its lessons, from the table of contents."""
    found = {}
    for page in chain(*contents(root).values()):
        if page.split("/")[1:2] != [part] or page.endswith("/index"):
            continue
        if page.startswith("book/"):
            found[page] = []
        else:
            list(found.values())[-1].append(page)
    return found


def describes(path):
    """A chapter's title, and what it says of itself in its first lines."""
    _, head, body = path.read_text("utf-8").split("---\n", 2)
    title = next(line for line in body.splitlines() if line.startswith("# "))
    return title.removeprefix("# "), yaml.safe_load(head)["myst"]["html_meta"]["description"]


class PartMap(SphinxDirective):
    """The chapters of the part that the page is in, their lessons, and the claims they judge."""

    def run(self):
        part = self.env.docname.split("/")[1]
        root = Path(self.env.app.srcdir)
        found = chapters(root, part)
        if not found:
            raise ExtensionError(f"{self.env.docname}: the part {part!r} has no chapters")
        lines = []
        for chapter, lessons in found.items():
            self.env.note_dependency(str(root / f"{chapter}.md"))
            title, told = describes(root / f"{chapter}.md")
            links = [f"{{doc}}`Read the chapter </{chapter}>`"]
            links += [f"{{doc}}`/{lesson}`" for lesson in lessons]
            lines += [f"## {title}", "", told, "", " · ".join(links), ""]
            lines += self.claims(title, [lesson.removeprefix("lessons/") for lesson in lessons])
        box = nodes.Element()
        self.state.nested_parse(StringList(lines), 0, box, match_titles=True)
        return box.children

    def claims(self, title, lessons):
        """The claims of these lessons as a table, each row leading to its details."""
        owned = {n: c for n, c in all_claims().items() if c.get("lesson") in lessons}
        if not owned:
            return []
        rows = ""
        for name, claim in owned.items():
            verdict, _ = verdict_on(self.env.app, name, claim)
            rows += (
                f'<tr data-answer="{verdict["answer"]}"><th scope="row">'
                f'<a href="../claims.html#claim-{name.lower()}">{escape(short(name, claim))}</a>'
                f"</th><td>{answer_html(verdict)}</td></tr>\n"
            )
        label = f'aria-label="Claims: {escape(title)}"'
        table = f'<table class="vg-claims vg-map" {label}><tbody>\n{rows}</tbody></table>'
        return [*table.splitlines(), ""]


def setup(app):
    app.add_directive("part-map", PartMap)
    return {"version": "1", "parallel_read_safe": True}
