"""Sphinx extension of the slides alone: each chapter of the essentials as a slide set.

A slide has one thing to look at: a figure, a formula, code, a table, a list or a box, under the
heading of its section. What the page says before it is in the speaker's notes.
"""

from docutils import nodes
from sphinx_revealjs._ext.notes import revealjs_notes
from tools.essentials import TRACK

SHOWN = (
    nodes.figure,
    nodes.math_block,
    nodes.literal_block,
    nodes.table,
    nodes.Admonition,
    nodes.bullet_list,
    nodes.enumerated_list,
    nodes.raw,
)


def slide(number, heading, shown, said):
    """One slide; what is ``said`` shows to the speaker only."""
    section = nodes.section(ids=[f"slide-{number}"])
    section += nodes.title("", "", *(child.deepcopy() for child in heading.children))
    section += shown
    section += revealjs_notes("", *said)
    return section


def blocks(section):
    """The parts of a page to the end of its essentials, each with the heading that it is under."""
    heading = section.next_node(nodes.title)
    for child in section.children:
        if isinstance(child, nodes.section):
            if (yield from blocks(child)):
                return True
        elif "vg-essentials" in child.get("classes", []):
            return True
        elif child is not heading and "vg-track" not in child.get("classes", []):
            yield heading, child
    return False


def is_note_on_time(node):
    """Whether a paragraph says what one needs, which is for readers."""
    return isinstance(node, nodes.paragraph) and node.astext().startswith(("Before", "You need"))


def is_question(node):
    """Whether a node may stand on the title slide."""
    return isinstance(node, nodes.paragraph) and not is_note_on_time(node)


def drop_scripts(app, pagename, templatename, context, doctree):
    """Load no script of the book: sliders bring their own."""
    context["script_files"] = []


def in_slides(app, doctree, docname):
    """Make slides of a page."""
    if docname.removeprefix("book/") not in TRACK:
        return
    page = next(doctree.findall(nodes.section))
    title = page.next_node(nodes.title)
    slides, said, under, intro, shown_under = [], [], title, None, None
    for heading, child in [*blocks(page), (None, None)]:
        if heading is not under:
            if said and shown_under is under:  # what follows the last thing to look at
                slides[-1][-1].extend(said)
            elif said:
                slides.append(slide(len(slides), under, [], said))
            under, said = heading, []
        if intro is None and is_question(child):
            intro = child
        elif isinstance(child, SHOWN):
            slides.append(slide(len(slides), heading, [child], said))
            said, shown_under = [], heading
        elif child is not None and not is_note_on_time(child):
            said.append(child)
    page.children = [title, intro, *slides]
    for child in page.children:
        child.parent = page


def setup(app):
    app.connect("doctree-resolved", in_slides, priority=900)
    app.connect("html-page-context", drop_scripts, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
