"""Sphinx extension of the book: the figure on its first page, live in theory and networks."""

import json
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import ReferenceRole
from vglib.lesson import seeds
from vglib.tasks import digits

from course import LessonFigure, text

CONTROLS = ("depth", "activation", "init")  # of the lesson's figure, in this order
DIGITS = 64  # as many as the lesson measures on
LEVELS = 16  # a pixel is a whole number from 0 to this one
SCRIPTS = [Path(__file__).with_name(name) for name in ("message.js", "front.js")]


@cache
def pictures():
    """The digits that the lesson measures on, pixel by pixel, each a digit to base 17.

    With them the standardised values of the lowest and the highest pixel.
    """
    task = digits().train
    low, high = float(task.inputs.min()), float(task.inputs.max())
    sample = task.sample(DIGITS, seed=seeds(1)[0])
    levels = LEVELS * (sample.inputs - low) / (high - low)
    pixels = levels.round().int().flatten().tolist()
    return {
        "low": low,
        "high": high,
        "pixels": "".join("0123456789abcdefg"[pixel] for pixel in pixels),
        "targets": "".join(map(str, sample.targets.tolist())),
    }


def stored(html):
    """What a lesson's figure measured in all states of its controls, in their order.

    Curves are in hundredths of a power of ten, layer 1 first, without the top layer, which is 1:
    what is added to the median over seeds of the layer above, how far seeds go below the median,
    and how far above.
    """
    data = json.loads(re.search(r"<script type='application/json'>(.*?)</script>", html)[1])
    names, choices = zip(*data["controls"], strict=True)
    if names != CONTROLS:
        raise ExtensionError(
            f"the first page's figure is made from one with the controls {', '.join(CONTROLS)}; "
            f"given were {', '.join(names)}"
        )
    states = []
    for _, _, *curves in data["states"]:
        median, below, above = ([round(100 * value) for value in curve] for curve in curves)
        added = [here - next_up for here, next_up in pairwise(median)]
        states.append([added, below[:-1], above[:-1]])
    return dict(zip(("depths", "activations", "inits"), choices, strict=True)) | {"states": states}


def scripts():
    """Our own scripts without comments and indentation."""
    lines = [line for path in SCRIPTS for line in path.read_text("utf-8").splitlines()]
    lines = [re.sub(r"(^|\s)// .*", "", line).strip() for line in lines]
    return "\n".join(filter(None, lines))


class FrontFigure(LessonFigure):
    """A lesson's slider figure made live: theory for any setting, and networks drawn in the page.

    The arguments are the lesson and the figure's name in it, whose measurements and table are kept;
    ``:start:`` is the first setting, such as ``tanh-10-torch``. The content is the caption, and
    then a list of settings to try, with the role ``net``.
    """

    has_content = True

    def run(self):
        self.assert_has_content()
        for path in SCRIPTS:
            self.env.note_dependency(str(path))
        html = text(self.find(*self.arguments)[1]["text/html"])
        data = {"start": self.options["start"], "stored": stored(html), **pictures()}
        data = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        data = data.replace("<", "\\u003c")  # nothing in it may end or open a script
        table = re.search("<table>.*</table>", html, re.DOTALL)[0]
        content = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, content)
        caption, sayings = content.children
        figure = nodes.figure()
        figure += nodes.raw(
            "",
            f"<vg-front><script type='application/json'>{data}</script><div class='vg-table' "
            f"tabindex='0' role='region' aria-label='Table of all settings'>{table}</div>"
            "<div slot='sayings' hidden>",
            format="html",
        )
        figure += sayings
        figure += nodes.raw("", f"</div></vg-front><script>{scripts()}</script>", format="html")
        figure += nodes.caption("", "", *caption.children)
        self.set_source_info(figure)
        self.add_name(figure)
        return [figure]


class Setting(ReferenceRole):
    """A link that sets the figure of its page: ``{net}`ReLU <relu-30-torch>` ``.

    Two settings, one over the other, are joined by two hyphens.
    """

    def run(self):
        return [nodes.reference("", self.title, refuri=f"#net-{self.target}", internal=True)], []


def setup(app):
    app.add_role("net", Setting())
    app.add_directive("front-figure", FrontFigure)
    return {"version": "1", "parallel_read_safe": True}
