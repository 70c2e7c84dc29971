"""Sphinx extension of the book: drawings that stand in the page itself and follow its theme."""

import re
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

SVG = "{http://www.w3.org/2000/svg}"


def panels(folder, name):
    """The files of a drawing: ``name.svg``, or all in the folder ``name``."""
    files = [folder / f"{name}.svg"]
    if not files[0].is_file():
        files = sorted(Path(folder, name).glob("*.svg"))
    if not files:
        known = ", ".join(sorted({path.stem for path in folder.iterdir()}))
        raise ValueError(f"unknown drawing {name!r}; choose one of: {known}")
    return files


def inline(path):
    """The SVG of a file as a part of a page; refuses one that says nothing to who cannot see it."""
    source = path.read_text("utf-8")
    root = ElementTree.fromstring(source)
    words = root.get("aria-label") or root.findtext(f"{SVG}title") or ""
    if root.tag != f"{SVG}svg" or root.get("role") != "img" or len(words.split()) < 5:
        raise ValueError(f'{path.name} is no <svg role="img"> with an aria-label that explains it')
    return re.sub(r"<\?.*?\?>\s*", "", source)


class Drawing(SphinxDirective):
    """Show ``book/drawings/NAME.svg``, or all panels in the folder ``book/drawings/NAME``.

    The argument is the name, the content the caption; ``:name:`` is the label here.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"name": str}

    def run(self):
        self.assert_has_content()
        try:
            files = panels(Path(self.env.app.srcdir, "book", "drawings"), self.arguments[0])
            svg = "".join(map(inline, files))
        except (ValueError, ElementTree.ParseError) as error:
            raise self.error(str(error)) from error
        for path in files:
            self.env.note_dependency(str(path))
        figure = nodes.figure()
        figure += nodes.raw("", f'<div class="vg-panels">{svg}</div>', format="html")
        caption = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, caption)
        figure += nodes.caption("", "", *caption[0].children)
        self.set_source_info(figure)
        self.add_name(figure)
        return [figure]


def setup(app):
    app.add_directive("drawing", Drawing)
    return {"version": "1", "parallel_read_safe": True}
