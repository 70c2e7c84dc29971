"""Sphinx extension of the book: the tables of the page for teachers, made from what pages say."""

import json
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst.directives import nonnegative_int
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from tools.lessons import BUDGET
from tools.timetable import absolute, contents, lead, minutes, text_of
from vglib.claims import all_claims

from course import answer_html, lesson_name, short, verdict_link, verdict_on

NOT_MEASURED = "not measured"
UNSEATED = ("no", "not usually", "not as said", "it depends")


def list_table(header, rows, widths):
    """A table in MyST, one line of Markdown a cell."""
    yield from ("```{list-table}", ":header-rows: 1", f":widths: {' '.join(map(str, widths))}")
    yield from (":class: vg-plan", "")
    for row in [header, *rows]:
        for number, cell in enumerate(row):
            yield f"{'* ' if number == 0 else '  '}- {cell}".rstrip()
    yield "```"


class Table(SphinxDirective):
    """What all tables here share: their lines are Markdown."""

    def table(self, header, rows, widths):
        box = nodes.container()
        lines = StringList(list(list_table(header, rows, widths)), source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, box)
        return box.children


class Plan(Table):
    """A plan whose minutes add up, or the build fails.

    A line is ``minutes | what``. For a page of the book it is ``page | what``, and its minutes are
    those that the page says; ``page essentials`` takes those of its essential part. ``# name``
    begins a meeting. ``:minutes:`` is what each meeting must take.
    """

    has_content = True
    option_spec: ClassVar = {"minutes": nonnegative_int}

    def run(self):
        meetings = [["", []]]
        for line in self.content:
            if line.startswith("#"):
                meetings.append([line.lstrip("# "), []])
            elif line.strip():
                meetings[-1][1].append(self.item(line))
        rows = []
        for name, items in meetings:
            if not items:
                continue
            total = sum(taken for taken, _ in items)
            if total != self.options["minutes"]:
                raise self.error(
                    f"{name or 'the plan'} takes {total} minutes, not {self.options['minutes']}"
                )
            if name:
                rows.append([f"**{total}**", f"**{name}**"])
            rows += [[str(taken), what] for taken, what in items]
            if not name:
                rows.append([f"**{total}**", "**in all**"])
        return self.table(("minutes", "what"), rows, (10, 90))

    def item(self, line):
        """The minutes and the words of one line."""
        place, bar, what = (part.strip() for part in line.partition("|"))
        if not bar or not what:
            raise self.error(f"a line of a plan is “minutes | what” or “page | what”, not {line!r}")
        if place.isdigit():
            return int(place), what
        page, _, part = place.partition(" ")
        try:
            taken = minutes(text_of(page, self.env.app.srcdir))
        except (OSError, ValueError) as problem:
            raise self.error(f"{page}: {problem}") from problem
        wanted = taken.essential if part == "essentials" else taken.whole
        if part not in ("", "essentials") or wanted is None:
            raise self.error(f"{page} has no part {part!r} with minutes of its own")
        name = f"{{doc}}`/{page}`" + (", the essentials" if part else "")
        return wanted, f"{name}: {what}"


class LessonsTable(Table):
    """All lessons in the order of the contents: what for, what one needs, what each takes."""

    def run(self):
        root = Path(self.env.app.srcdir)
        measured = json.loads((root / BUDGET).read_text("utf-8"))
        judged = {}
        for name, claim in all_claims().items():
            judged.setdefault(claim.get("lesson"), []).append(f"[{name}](#claim-{name.lower()})")
        rows = []
        for part, pages in contents(root).items():
            found = [page for page in pages if page.startswith("lessons/")]
            rows += [[f"**{part}**", "", "", "", ""]] if found else []
            for page in found:
                lesson = page.removeprefix("lessons/")
                text = absolute(text_of(page, root), str(Path(page).parent))
                can, needs = lead(text)
                about = f"{{doc}}`/{page}`. {can[0].upper()}{can[1:]} *You need:* {needs}"
                took = measured.get(lesson, {})
                rows.append(
                    [
                        about,
                        str(minutes(text).whole),
                        str(took.get("seconds", NOT_MEASURED)),
                        str(took.get("megabytes", NOT_MEASURED)),
                        " ".join(judged.get(lesson, ["none"])),
                    ]
                )
        header = ("lesson", "minutes to read", "seconds to run", "memory, MB", "claims")
        return self.table(header, rows, (60, 9, 9, 9, 13))


class Misconceptions(Table):
    """What is said and does not hold as it is said, with the lesson that shows it."""

    def run(self):
        rows = []
        for name, claim in all_claims().items():
            verdict, heading = verdict_on(self.env.app, name, claim)
            if heading and verdict["answer"] in UNSEATED:
                said = f"[**{name}**](#claim-{name.lower()}) {short(name, claim)}"
                link = f"[{lesson_name(claim)}]({verdict_link(claim, heading)})"
                rows.append([said, answer_html(verdict), link])
        return self.table(("one reads", "we found", "seen in"), rows, (60, 20, 20))


def setup(app):
    app.add_directive("plan", Plan)
    app.add_directive("lessons-table", LessonsTable)
    app.add_directive("misconceptions", Misconceptions)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
