"""Sphinx extension of the book: formulas as MathML, which browsers draw without a script.

MathJax would be a megabyte on most pages, and a second of a phone's time. The font is in
``book/static/math``, as phones and many Linux machines have none that knows how to stretch a root.
"""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number

# What latex2mathml writes, and what a browser needs to space it as TeX does.
MENDED = {
    r' xmlns="[^"]*"| display="inline"': "",
    r'<mo(?: stretchy="false")?>(&#x0002F;|&#x0007C;|&#x02016;)':  # a slash and bars
    r'<mo stretchy="false" lspace="0" rspace="0">\1',
    # A prime is high and small by itself; so it is no exponent.
    r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>": r"<mrow>\1<mi>&#x02032;</mi></mrow>",
    # tanh c, but tanh(c)
    r"(?<!<msub>)(?<!<msup>)(<mi>\w{2,}</mi>)(?=<m(?!o))": r'\1<mspace width="0.17em"></mspace>',
    r"<(mi|mspace)([^>]*) />": r"<\1\2></\1>",  # HTML knows no empty elements of MathML
}


def mathml(tex, *, block=False):
    """TeX as MathML; refuses what the converter would pass on as it stands."""
    known = tex.replace("{aligned}", "{split}")  # the converter knows but one of the two
    try:
        found = convert(known, display="block" if block else "inline")
    except Exception as problem:  # the converter's own have no common kind
        raise ExtensionError(f"formula {tex!r}: {type(problem).__name__} {problem}") from problem
    if unknown := re.search(r"\\\w+|<mi>&</mi>|\[</mo><mn>\d+pt", found):
        raise ExtensionError(f"formula {tex!r}: latex2mathml does not know {unknown[0]!r}")
    for pattern, mended in MENDED.items():
        found = re.sub(pattern, mended, found)
    return re.sub(r"^(<math[^>]*>)<mrow>(.*)</mrow></math>$", r"\1\2</math>", found)


def visit_inline(translator, node):
    tag = translator.starttag(node, "span", "", CLASS="math notranslate")
    translator.body.append(f"{tag}{mathml(node.astext())}</span>")
    raise nodes.SkipNode


def visit_block(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(f"{mathml(node.astext(), block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
