"""Sphinx extension of the book: a page loads what it uses, after its text, and no more."""

import io
import re
from base64 import b64encode
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset
from fontTools.ttLib import TTFont

# The icons in use, of the thousands in Font Awesome: those of the theme's buttons by name, and by
# number those of its boxes. One that is missing here is taken from the theme's own font.
SOLID = """
    angle-left angle-right arrow-up bars circle-half-stroke code download expand file file-pdf home
    lightbulb list magnifying-glass moon outdent pencil play rocket sun xmark
""".split()
BRANDS = ["github"]
BOXES = 0xF05A, 0xF06A, 0xF071, 0xF057, 0xF0EB, 0xF064, 0xF0F3, 0xF303, 0xF107, 0xF010, 0xF35D
NEVER = "(?!)"
# What a page's own HTML has where a script or a style sheet is of use to it.
USED_BY = {
    "clipboard": 'class="highlight',
    "copybutton": 'class="highlight',
    "togglebutton": 'class="[^"]*(toggle|admonition[^"]* dropdown)',
    "toggleHint": 'class="[^"]*(toggle|admonition[^"]* dropdown)',
    "toggleOpen": 'class="[^"]*(toggle|admonition[^"]* dropdown)',
    "design-tabs": 'class="sd-tab',
    "sphinx-design": r'class="([^"]* )?sd-',
    "mystnb": 'class="[^"]*cell',
    "pagename": NEVER,  # for a list of versions, which the book has not
    "thebe": NEVER,  # comes twice, though it is off
}
FACE = (
    '@font-face{{font-family:"Font Awesome 6 {family}";font-weight:{weight};'
    "src:url(data:font/woff;base64,{data})}}"
)


def icon_font(path, numbers):
    """A font of some of a font's icons, as text for a style sheet."""
    font, file = TTFont(path), io.BytesIO()
    options = subset.Options(hinting=False, layout_features=[], name_IDs=[0, 13])
    cut = subset.Subsetter(options)
    cut.populate(unicodes=numbers)
    cut.subset(font)
    font.flavor = "woff"
    font.save(file)
    return b64encode(file.getvalue()).decode()


def write_icons(app):
    """Write icons.css, the icons in use as part of a style sheet."""
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
    css = (theme / "styles/pydata-sphinx-theme.css").read_text("utf-8")
    number = {}
    for names, found in re.findall(r'([^{}]*)\{content:"\\(f[0-9a-f]{3})"\}', css):
        number |= dict.fromkeys(re.findall(r"\.fa-([\w-]+):before", names), int(found, 16))
    faces = []
    for family, weight, file, numbers in (
        ("Free", 900, "fa-solid-900.ttf", [*(number[name] for name in SOLID), *BOXES]),
        ("Brands", 400, "fa-brands-400.ttf", [number[name] for name in BRANDS]),
    ):
        data = icon_font(theme / "vendor/fontawesome/webfonts" / file, numbers)
        faces += [FACE.format(family=family, weight=weight, data=data)]
    folder = Path(app.doctreedir, "icons")
    folder.mkdir(parents=True, exist_ok=True)
    told = "/* Font Awesome Free by Fonticons: fontawesome.com/license/free */"
    (folder / "icons.css").write_text("\n".join([told, *faces, ""]), "utf-8")
    app.config.html_static_path.append(str(folder))
    app.add_css_file("icons.css", priority=900)


def drop(app, pagename, templatename, context, doctree):
    """Leave out scripts and style sheets that the page does not use; load scripts after it."""
    body = context.get("body", "")

    def used(file):
        told = str(vars(file))  # its name, or what it says
        return all(re.search(mark, body) for name, mark in USED_BY.items() if name in told)

    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context[kind] if used(file)]
    for script in context["script_files"]:
        if getattr(script, "filename", None):
            script.attributes["defer"] = "defer"


RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
CLASS = re.compile(r"\.((?:[\w-]|\\.)+)")
EMPTY = re.compile(r"@(?:media|supports)[^{}]*\{\s*\}")


def slim(css, words):
    """A style sheet without the rules for classes that are none of ``words``."""

    def kept(rule):
        selectors, body = rule.groups()
        if "(" in selectors:  # of which commas may be a part
            return rule[0]
        used = [one for one in selectors.split(",") if words.issuperset(CLASS.findall(one))]
        return f"{','.join(used)}{{{body}}}" if used else ""

    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    return EMPTY.sub("", RULE.sub(kept, css))


def slim_theme(app, exception):
    """Cut the theme's style sheet down to the classes of any page or script of the book."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    for file in (static / "scripts").glob("fontawesome.js*"):
        file.unlink()
    words = set()
    for file in [*Path(app.outdir).rglob("*.html"), *static.rglob("*.js")]:
        words |= set(re.findall(r"[\w-]+", file.read_text("utf-8")))
    path = static / "styles" / "pydata-sphinx-theme.css"
    told = "/* A part of the styles of pydata-sphinx-theme (BSD) with Bootstrap (MIT). */\n"
    path.write_text(told + slim(path.read_text("utf-8"), words), "utf-8")


def setup(app):
    app.connect("builder-inited", write_icons)
    app.connect("html-page-context", drop, priority=960)
    app.connect("build-finished", slim_theme)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
