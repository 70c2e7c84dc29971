"""Sphinx extension of the book: questions at the end of a chapter, answered in the page itself.

Each answer is a fold with its verdict inside, so that it works without a script, by keyboard and on
paper. The questions of ``book/PART/NAME.md`` stand in ``book/questions/PART/NAME.yml``: what is
asked, and two or more answers, each with what is to be said of it under ``right`` or ``wrong``. A
wrong one has the place that shows better (``see``, an address as in the chapter).
"""

from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

MARKS = {"right": "✓ Yes.", "wrong": "✗ No."}


class answer(nodes.General, nodes.Element):
    """A fold: what somebody may answer, and what is to be said of that."""


class says(nodes.General, nodes.TextElement):
    """The words of an answer, always in sight."""


def check(where, question):
    """Refuse a question that cannot be put as it stands."""
    answers = question.get("answers", [])
    if set(question) != {"ask", "answers"} or len(answers) < 2:
        raise ExtensionError(f"{where}: a question has ask, and answers, two at least: {question}")
    for one in answers:
        wanted = [{"say", "right"}, {"say", "wrong", "see"}]
        if set(one) not in wanted:
            raise ExtensionError(f"{where}: an answer has say and right, or say, wrong, see: {one}")
    if sum("right" in one for one in answers) != 1:
        raise ExtensionError(f"{where}: exactly one answer is right: {question['ask']}")


class SelfCheck(SphinxDirective):
    """The questions of this chapter."""

    def run(self):
        name = self.env.docname.removeprefix("book/")
        path = Path(self.env.app.srcdir, "book", "questions", f"{name}.yml")
        self.env.note_dependency(str(path))
        try:
            questions = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, yaml.YAMLError) as problem:
            raise self.error(f"the questions of {name}: {problem}") from problem
        listed = nodes.enumerated_list(classes=["vg-check"], enumtype="arabic")
        for number, question in enumerate(questions, 1):
            check(path.name, question)
            item = nodes.list_item("", *self.parse(question["ask"]))
            item += [self.answer(f"check-{number}", one) for one in question["answers"]]
            listed += item
        self.set_source_info(listed)
        return [listed]

    def parse(self, text):
        box = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines()), self.content_offset, box)
        return box.children

    def answer(self, name, given):
        """One fold; of those with one name a browser has one open at a time."""
        kind = "right" if "right" in given else "wrong"
        told = f"**{MARKS[kind]}** {given[kind]}"
        if kind == "wrong":
            told += f" Look again: [](<{given['see']}>)."
        words, *more = self.parse(given["say"])
        if more or not isinstance(words, nodes.paragraph):
            raise self.error(f"an answer is one sentence or two, no list: {given['say']!r}")
        node = answer(name=name, classes=[kind])
        node += [says("", "", *words.children), *self.parse(told)]
        return node


def visit_answer(translator, node):
    classes = " ".join(node["classes"])
    translator.body.append(f'<details name="{node["name"]}" class="vg-answer {classes}">')


def depart_answer(translator, node):
    translator.body.append("</details>\n")


def visit_says(translator, node):
    translator.body.append("<summary>")


def depart_says(translator, node):
    translator.body.append("</summary>")


def setup(app):
    app.add_node(answer, html=(visit_answer, depart_answer))
    app.add_node(says, html=(visit_says, depart_says))
    app.add_directive("self-check", SelfCheck)
    return {"version": "1", "parallel_read_safe": True}
