"""Sphinx extension of the book: what leads to a page from outside, and out of a dead end.

Descriptions and social cards, a site map, a page for wrong addresses, texts for a search on disk,
and in the footer what version the pages are of, and when they were built.
"""

import json
import re
from datetime import date
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes
from sphinxext import opengraph
from tools.lessons import ROOT
from tools.release import version

LONGEST = 200  # characters of a description that search engines and social networks show
LOST = """<section id="lost"><h1>There is no such page</h1>
<p>The address is wrong, or the page has moved. Try the search, the contents beside this, or</p>
<ul>
<li><a href="book/index.html">the first page</a>, to understand vanishing gradients;</li>
<li><a href="book/symptoms.html">What do you see?</a>, if your network does not learn;</li>
<li><a href="book/claims.html">Claims under test</a>, for what is true of what everybody says.</li>
</ul></section>"""
ENTRY = "<url><loc>{}</loc></url>\n"
SITEMAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{}</urlset>
"""
FORWARD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="refresh" content="0; url={first}">
<link rel="canonical" href="{base}{first}"></head>
<body><h1><a href="{first}">{title}</a></h1></body></html>
"""


def plain(node):
    """The words of a paragraph as they are read, formulas left out."""
    copy = node.deepcopy()
    for formula in list(copy.findall(nodes.math)):
        formula.parent.remove(formula)
    return re.sub(r"\s+([.,;:?])", r"\1", " ".join(copy.astext().split()))


def description(doctree, *_):
    """What a page says of itself, or else its first paragraph, as far as whole sentences go."""
    for meta in doctree.findall(nodes.meta):
        if meta.get("name") == "description":
            return meta["content"]
    found = (p for p in doctree.findall(nodes.paragraph) if "vg-track" not in p["classes"])
    words = plain(
        next((p for p in found if isinstance(p.parent, nodes.section)), nodes.paragraph())
    )
    if len(words) <= LONGEST:
        return words
    whole = re.match(rf".{{40,{LONGEST - 1}}}[.?!](?= )", words)
    return whole[0] if whole else words[: words.rindex(" ", 0, LONGEST)].rstrip(",;:") + " …"


def say_when(app, config):
    """Say in the footer which version this is, and since when."""
    config.version = config.release = version(ROOT)
    built = f"<p>Version {config.release}, built {date.today().isoformat()}.</p>"
    config.html_theme_options["extra_footer"] += built


def add_tags(app, pagename, templatename, context, doctree):
    if pagename == "404":  # it is served at any address: all of its links begin at the root
        context["metatags"] = f'<base href="{urlsplit(app.config.html_baseurl).path}" />'
    if pagename == "search":
        app.add_js_file("search.js")
    if doctree:
        app.env.page_texts[pagename] = f'<div role="main">{searched(doctree)}</div>'


def lost_page(app):
    yield "404", {"title": "There is no such page", "body": LOST}, "page.html"


def searched(node):
    """The text of a document, with its sections: what the search shows a part of."""
    found = []
    for child in node.children:
        if isinstance(child, nodes.section):
            found += [f'<section id="{child["ids"][0]}">{searched(child)}</section>']
        else:
            words = (text for text in child.findall(nodes.Text) if not is_hidden(text.parent))
            found += [escape(" ".join(words), quote=False)]
    return " ".join(found)


def is_hidden(node):
    return isinstance(node, nodes.Invisible | nodes.raw)


def write_files(app, exception):
    """Write the site map, the first page's other address, and the texts for a search on disk."""
    if exception or app.builder.format != "html":
        return
    base, out = app.config.html_baseurl, Path(app.outdir)
    pages = sorted(f"{base}{name}.html" for name in app.env.found_docs)
    (out / "sitemap.xml").write_text(SITEMAP.format("".join(map(ENTRY.format, pages))), "utf-8")
    first = f"{app.config.root_doc}.html"
    told = {"title": app.config.html_title, "first": first, "base": base}
    (out / "index.html").write_text(FORWARD.format(**told), "utf-8")
    texts = json.dumps(app.env.page_texts, ensure_ascii=False)
    (out / "_static" / "texts.js").write_text(f"const pageTexts = {texts};\n", "utf-8")


def search_scripts(app, pagename, templatename, context, doctree):
    """The search page's own scripts follow at once, so those before them may not wait."""
    if pagename == "search":
        for script in context["script_files"]:
            script.attributes.pop("defer", None)


def prepare(app):
    app.env.page_texts = {}
    opengraph.get_description = description  # its own takes whatever text comes first


def setup(app):
    app.connect("config-inited", say_when)
    app.connect("builder-inited", prepare)
    app.connect("html-collect-pages", lost_page)
    app.connect("html-page-context", add_tags)
    app.connect("html-page-context", search_scripts, priority=970)
    app.connect("build-finished", write_files, priority=900)
    return {"version": "1", "parallel_read_safe": True}
