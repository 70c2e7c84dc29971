"""Sphinx extension of the book: cards for the terms of *Notation*, where a page first uses them.

The cards themselves are made by the extension ``teachbooks_sphinx_tippy`` for every link to a term.
Here the links are made. The first use of a term in a page's open text, as a word or as a formula of
one letter, becomes one, and its first use in the folds before that. The role ``term`` makes one by
hand, and then the page's other uses of the term stay as they are. So they do where the page itself
explains the term, in italics or bold.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

NOTATION = "book/notation"
WITHOUT = {NOTATION, "book/claims", "book/api", "book/references", "CHANGELOG"}
PASSED_OVER = (  # what is no running text, or has a link of its own
    nodes.reference,
    addnodes.pending_xref,
    nodes.title,
    nodes.caption,
    nodes.literal,
    nodes.FixedTextElement,
    nodes.raw,
    nodes.table,
    nodes.rubric,
    nodes.Invisible,
)
# How a term is written: words, or a formula of one letter. Only what has no plain meaning as well:
# what is called "a setting" or "a branch" is marked by hand where it needs a card.
WORDS = {
    "layer 1": "layer 1",
    "read-out": "read-outs?",
    "pre-activation": "pre-activations?",
    "delta": "δ",
    "weight gradient": "weight gradients?",
    "RMS": "RMS|root mean square",
    "factor": "factors? per layer",
    "starved": "starved|starves?|starving",
    "exploding": "explod(?:e|es|ed|ing)|explosions?",
    "decade": "decades?",
    "init": "inits?|initiali[sz]ation",
    "gain": "gain",
    "fan_in": "fan[-_]in",
    "Xavier's init": "Xavier(?:[’']s)?(?: init)?|Glorot init",
    "He's init": "He[’']s(?: init)?|He init|Kaiming init",
    "orthogonal": "orthogonal",
    "critical": "critical(?:ity|ly)?",
    "Gaussian": "Gaussians?",
    "saturated": "saturat(?:ed?|es|ing|ion)",
    "dead": "dead (?:units?|neurons?|ReLUs?)|(?:units?|neurons?) (?:is|are) dead",
    "sigmoid": "sigmoids?",
    "tanh": "tanh",
    "ReLU": "ReLUs?",
    "leaky ReLU": "leaky ReLUs?|PReLU",
    "ELU": "ELU|SELU",
    "GELU": "GELU|SiLU|Swish",
    "epoch": "epochs?",
    "SGD": "SGD",
    "momentum": "momentum",
    "Adam": "Adam",
    "chance": "at chance",
    "batch norm": "batch[- ]norm(?:ali[sz]ation)?",
    "layer norm": "layer[- ]norm(?:ali[sz]ation)?",
    "skip connection": "skip connections?|residual connections?",
    "residual block": "residual blocks?",
    "lag": "lags?",
    "spectral radius": "spectral radius",
    "norm of a matrix": "spectral norm",
    "eigenvalue": "eigenvalues?",
    "LSTM": "LSTMs?",
    "GRU": "GRUs?",
    "forget gate": "forget gates?|forget bias(?:es)?",
    "query": "quer(?:y|ies)",
    "gradient clipping": "(?:gradient )?clipping",
    "base seed": "base seeds?",
    "twin": "twins?",
}
LETTERS = {
    "depth": "L",
    "pre-activation": "z|z_l",
    "activation": r"\\varphi|h_l|\\phi",
    "slope": r"\\varphi'|\\varphi'\(z\)|\\varphi'\(z_l\)",
    "loss": r"\\mathcal\{?L\}?",
    "delta": r"\\delta|\\delta_l",
    "chi": r"\\chi|\\chi_l",
    "gain": r"\\sigma_w",
    "bias scale": r"\\sigma_b",
    "length": "q|q_l",
    "mean": r"\\mathbb\{?E\}?",
    "learning rate": r"\\eta",
    "spectral radius": r"\\rho",
    "curvature": r"\\kappa",
}


# Longer patterns first: a leaky ReLU is not a ReLU.
ANY_WORD = re.compile(
    "|".join(
        rf"(?P<t{number}>(?<![\w-])(?:{pattern})(?![\w-]))"
        for number, pattern in sorted(enumerate(WORDS.values()), key=lambda item: -len(item[1]))
    )
)


def is_fold(node):
    return isinstance(node, nodes.container) and node.get("design_component") == "dropdown"


def above(node):
    while node.parent is not None:
        node = node.parent
        yield node


def terms_in(node):
    """The terms in a text or a formula, as (term, whether by its letter, start, end)."""
    text = node.astext()
    if isinstance(node, nodes.math):
        for term, pattern in LETTERS.items():
            if re.fullmatch(pattern, text.strip()):
                yield term, True, 0, len(text)
        return
    for match in ANY_WORD.finditer(text):
        term = list(WORDS)[int(match.lastgroup[1:])]
        yield term, match[0] == "δ", *match.span()


def link(term, docname, shown):
    """What the role ``term`` makes, around ``shown``."""
    found = addnodes.pending_xref(
        "",
        shown,
        refdomain="std",
        reftype="term",
        reftarget=term,
        refexplicit=True,
        refwarn=True,
        refdoc=docname,
    )
    found["classes"] += ["term"]
    return found


class FirstUses(SphinxTransform):
    """Turn the first use of each term on a page, by its name and by its letter, into a link."""

    default_priority = 700

    def apply(self, **kwargs):
        if self.env.docname in WITHOUT:
            return
        by_hand = {
            node["reftarget"].lower()
            for node in self.document.findall(addnodes.pending_xref)
            if node.get("reftype") == "term"
        }
        seen = {
            (term, letter)
            for term in {**WORDS, **LETTERS}
            if term.lower() in by_hand
            for letter in (False, True)
        }
        seen_in_folds = set()
        for node in list(self.document.findall(lambda n: isinstance(n, nodes.Text | nodes.math))):
            around = list(above(node))
            running_text = any(isinstance(each, nodes.paragraph) for each in around)
            if not running_text or any(isinstance(each, PASSED_OVER) for each in around):
                continue
            if any(map(is_fold, around)):
                self.link_terms(node, seen_in_folds, passed_over=seen)
            else:
                self.link_terms(node, seen)

    def link_terms(self, node, seen, passed_over=frozenset()):
        """Put links in the place of new terms in a text or formula, and add them to ``seen``."""
        text, end, parts = node.astext(), 0, []
        explained = isinstance(node.parent, nodes.emphasis | nodes.strong)
        for term, letter, start, stop in terms_in(node):
            if (term, letter) in seen or (term, letter) in passed_over:
                continue
            seen.add((term, letter))
            if explained and text[start:stop] == text.strip(" .,:;"):
                continue
            shown = nodes.inline("", text[start:stop])
            if isinstance(node, nodes.math):  # a formula alone would leave its link without a name
                name = nodes.inline("", term, classes=["visually-hidden"])
                shown = nodes.inline("", "", node.deepcopy(), name)
            parts += [nodes.Text(text[end:start]), link(term, self.env.docname, shown)]
            end = stop
        if parts:
            parts += [nodes.Text(text[end:])]
            node.parent.replace(node, [part for part in parts if part.astext()])


class OneHeading(SphinxTransform):
    """Put the names of one entry of the glossary into one heading, which is what a card shows."""

    default_priority = 700

    def apply(self, **kwargs):
        for item in self.document.findall(nodes.definition_list_item):
            first, *others = [child for child in item.children if isinstance(child, nodes.term)]
            if not isinstance(item.parent.parent, addnodes.glossary):
                continue
            for other in others:
                first["ids"] += other["ids"]
                first += nodes.Text(", ")
                letter, _, index = other.astext().partition("_")  # as in σ_w
                first += (
                    [nodes.Text(letter), nodes.subscript("", index)] if index else other.children
                )
                item.remove(other)


def drop_scripts(app, pagename, templatename, context, doctree):
    """Load what shows cards only where there are any, and after the page."""
    wanted = "#term-" in context.get("body", "")
    kept = []
    for script in context.get("script_files", []):
        name = str(getattr(script, "filename", script))
        if not any(part in name for part in ("tippy/", "cards.js")):
            kept.append(script)
        elif wanted:
            script.attributes["defer"] = "defer"
            kept.append(script)
    context["script_files"] = kept
    context["css_files"] = [  # course.css has the look of cards
        sheet for sheet in context["css_files"] if "tippy" not in str(sheet)
    ]


def keep_errors(app, config):
    """Let nothing write the style sheet that is dropped: where a build fails, it hides why."""
    for listener in list(app.events.listeners["build-finished"]):
        if listener.handler.__name__ == "scb_static_path":
            app.disconnect(listener.id)


def setup(app):
    app.connect("config-inited", keep_errors)
    app.add_transform(FirstUses)
    app.add_transform(OneHeading)
    app.connect("html-page-context", drop_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
