"""Sphinx extension of the book: the Claims page and its data, lessons' figures in chapters."""

import json
import re
from base64 import b64decode
from collections import Counter
from hashlib import sha256
from html import escape
from itertools import groupby
from pathlib import Path
from shutil import copy
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from vglib.claims import VERDICT_MIME, all_claims, verdict_table

CLAIMS_PAGE = "book/claims"
PLACEHOLDER = "<!-- every claim -->"
SHORT = 60  # characters of a claim's short form, so that it fits a row of a table
ANSWERS = {  # by the answer of a verdict: its word on the page, a mark, what the word says
    "holds": ("yes", "✓", "true under all conditions that were tried"),
    "holds when": ("it depends", "◐", "true under some, false under others; the details say which"),
    "does not hold": ("no", "✗", "false under all conditions that were tried"),
    "undecided": ("undecided", "?", "the seeds disagree"),
    None: ("not tested", "–", "no lesson has tried it"),
}
SAYS = {"true": "Holds when", "false": "Does not hold when", "undecided": "Undecided when"}
FIRST_VERDICT = "First stored verdict: "
NOTHING, WORDS_ONLY = "nothing", "only the words"  # how an entry begins whose rule was not changed
HISTORIES = {
    NOTHING: "no change recorded",
    WORDS_ONLY: "only words changed after a result",
    "rule or runs": "rule or runs changed after a result",
}


def read_lesson(app, lesson):
    """Cells of a lesson as staged for the build; a page read meanwhile is rebuilt with them."""
    path = Path(app.srcdir, "lessons", f"{lesson}.ipynb")
    if not path.exists():
        raise ExtensionError(f"there is no lesson {lesson!r}: {path} is missing")
    if "docname" in app.env.temp_data:
        app.env.note_dependency(str(path))
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text(lines):
    return lines if isinstance(lines, str) else "".join(lines)


def find_verdict(cells, claim):
    """The verdict on ``claim`` in a lesson's stored outputs, and the heading above it."""
    heading = None
    for cell in cells:
        if cell["cell_type"] == "markdown":
            titles = [s for s in text(cell["source"]).splitlines() if s.startswith("#")]
            heading = titles[-1].lstrip("# ") if titles else heading
        for output in cell.get("outputs", []):
            verdict = output.get("data", {}).get(VERDICT_MIME)
            if verdict and verdict["claim"] == claim:
                return verdict, heading
    raise ExtensionError(f"the lesson that owns claim {claim} stores no verdict on it")


def verdict_on(app, name, claim):
    """The verdict on a claim and the heading above it; None and None where no lesson tries it."""
    if "lesson" not in claim:
        return None, None
    return find_verdict(read_lesson(app, claim["lesson"]), name)


def slug(heading):
    """The anchor that MyST gives a heading: GitHub's rule."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def short(name, claim):
    """A claim as tables show it; refuses one that is missing or too long for a row."""
    found = claim.get("short", "")
    if not 0 < len(found) <= SHORT:
        raise ExtensionError(
            f"claim {name}: vglib/claims.toml wants short, the claim itself in at most {SHORT} "
            f"characters; it has {f'{len(found)}: {found!r}' if found else 'none'}"
        )
    return found


def changes(name, claim):
    """What the history of a decided claim says was changed, entry by entry; refuses a gap in it."""
    entries = claim.get("history", [])
    if not entries:
        raise ExtensionError(
            f"claim {name} is decided and has no history: vglib/claims.toml wants "
            f"[[{name}.history]] with date, saw (its first stored verdict for one) and changed"
        )
    for number, entry in enumerate(entries, 1):
        if gone := [field for field in ("date", "saw", "changed") if not entry.get(field)]:
            raise ExtensionError(
                f"claim {name}: entry {number} of its history in vglib/claims.toml has no "
                f"{' and no '.join(gone)}; wanted are date, saw and changed"
            )
    if FIRST_VERDICT not in entries[0]["saw"]:
        raise ExtensionError(
            f"claim {name}: the first entry of its history in vglib/claims.toml must say under saw "
            f"what the first verdict was: {FIRST_VERDICT}…"
        )
    return [entry["changed"] for entry in entries]


def most_changed(name, claim):
    """The most that was changed about a decided claim after a result had been seen."""
    told = [changed for changed in changes(name, claim) if not changed.startswith(NOTHING)]
    if not told:
        return NOTHING
    return WORDS_ONLY if all(changed.startswith(WORDS_ONLY) for changed in told) else "rule or runs"


def history_markdown(entry):
    """One entry of a claim's history in MyST, as an item of a list."""
    dropped = f" *Dropped:* {'; '.join(entry['dropped'])}." if "dropped" in entry else ""
    return f"- {entry['date']}. *Seen:* {entry['saw']} *Changed:* {entry['changed']}{dropped}"


def answer_html(verdict):
    """The answer in a word, with its mark."""
    word, mark, _ = ANSWERS[verdict and verdict["answer"]]
    return f'<b><i aria-hidden="true">{mark}</i> {word}</b>'


def verdict_markdown(verdict):
    """The answer, the conditions that say so and otherwise, and in small print how many."""
    word, names = ANSWERS[verdict["answer"]][0], {answer: [] for answer in SAYS}
    for condition in verdict["conditions"]:
        names[condition["answer"]].append(condition["name"])
    said = " ".join(f"*{SAYS[so]}* {'; '.join(which)}." for so, which in names.items() if which)
    count, of = len(names["true"]), len(verdict["conditions"])
    return (
        f'<span data-answer="{word}">{answer_html(verdict)}</span> {said} '
        f"<small>True under {count} of {of} conditions.</small>"
    )


def verdict_link(claim, heading):
    return f"../lessons/{claim['lesson']}.ipynb#{slug(heading)}"


def claim_row(name, claim, verdict, heading):
    """One claim as a row of its part's table: the claim, its answer, its lesson."""
    word = ANSWERS[verdict and verdict["answer"]][0]
    link = ""
    if verdict:  # in MyST, between blank lines, so that the build checks where it leads
        lesson = claim["lesson"].split("/")[-1].replace("_", " ")
        link = f"\n\n[{lesson}]({verdict_link(claim, heading)})\n\n"
    return (
        f'<tr data-answer="{word}"><th scope="row"><a href="#claim-{name.lower()}"><b>{name}</b> '
        f"{escape(short(name, claim))}</a></th><td>{answer_html(verdict)}</td><td>{link}</td></tr>"
    )


def claim_table(part, found):
    """A part's claims in the order of ``claims.toml``, each in a row."""
    rows = "\n".join(claim_row(name, *each) for name, each in found.items())
    return f"""<table class="vg-claims" aria-label="{part}: claims and answers">
<thead><tr><th scope="col">claim</th><th scope="col">answer</th><th scope="col">lesson</th></tr>
</thead>
<tbody>
{rows}
</tbody></table>
"""


def claim_markdown(name, claim, verdict, heading):
    """One claim in MyST: anchor, wording, verdict; on demand the rule, the numbers, the history."""
    source = f"{{cite:t}}`{claim['source']}`" if "source" in claim else "source not located"
    title, wording = f"{name}. {short(name, claim)}", f"{claim['wording']} ({source}.)"
    if not verdict:
        return f"(claim-{name})=\n**{title}.** {wording} *{ANSWERS[None][0].capitalize()}.*\n"
    history = "\n".join(map(history_markdown, claim["history"]))
    return f"""(claim-{name})=
:::{{admonition}} {title}
:class: claim

{wording}

{verdict_markdown(verdict)}

{verdict["meaning"]} Decided in [{heading}]({verdict_link(claim, heading)}).

<details><summary>Rule and measurements</summary>

True for a seed when the {verdict["quantity"]} is {verdict["bound"]}. {verdict["because"]}

<div class="vg-table" tabindex="0" role="region" aria-label="Measurements for {name}">
{re.sub("<caption>.*?</caption>", "", verdict_table(verdict))}
</div></details>

<details><summary>History: {HISTORIES[most_changed(name, claim)]}</summary>

{history}

</details>
:::
"""


def legend_html():
    """What each answer means, as a list; the script that filters by answer reads it."""
    items = "\n".join(
        f'<li data-answer="{word}"><b><i aria-hidden="true">{mark}</i> {word}</b> {meaning}</li>'
        for word, mark, meaning in ANSWERS.values()
    )
    return f'<ul class="vg-answers">\n{items}\n</ul>\n'


def fill_claims_page(app, docname, source):
    """Write all claims into the Claims page as it is read: a table per part, and details below."""
    if docname != CLAIMS_PAGE:
        return
    if PLACEHOLDER not in source[0]:
        raise ExtensionError(f"{CLAIMS_PAGE} has lost its placeholder {PLACEHOLDER!r}")
    claims = all_claims()
    most = Counter(most_changed(name, c) for name, c in claims.items() if "lesson" in c)
    lines = [
        f"{most.total()} of {len(claims)} claims are decided. After a result had been seen, "
        f"{most['rule or runs']} of these {most.total()} had their rule changed, or what it is "
        f"tried on; {most[WORDS_ONLY]} only the words of the answer; {most[NOTHING]} nothing, as "
        "far as is recorded.",
        "",
        legend_html(),
    ]
    for part, group in groupby(claims.items(), key=lambda item: item[1]["part"]):
        found = {name: (claim, *verdict_on(app, name, claim)) for name, claim in group}
        lines += [f"## {part}", "", claim_table(part, found)]
        decided_first = sorted(found, key=lambda name: "lesson" not in claims[name])
        lines += [claim_markdown(name, *found[name]) for name in decided_first]
    source[0] = source[0].replace(PLACEHOLDER, "\n".join(lines))


def claim_data(name, claim, verdict):
    """One claim as plain data, in the form of ``claims.schema.json``."""
    verdict = verdict or {"answer": None, "conditions": []}
    return {
        "id": name,
        "part": claim["part"],
        "short": short(name, claim),
        "wording": claim["wording"],
        "source": claim.get("source"),
        "lesson": claim.get("lesson"),
        "answer": ANSWERS[verdict["answer"]][0],
        **{field: verdict.get(field) for field in ("meaning", "quantity", "bound")},
        "conditions": verdict["conditions"],
        "history": [
            entry | {"date": entry["date"].isoformat()} for entry in claim.get("history", [])
        ],
    }


def write_claims(app, exception):
    """Write all claims beside their page for programs, with the schema of what is written."""
    if exception or app.builder.format != "html":
        return
    found = [
        claim_data(name, claim, verdict_on(app, name, claim)[0])
        for name, claim in all_claims().items()
    ]
    data = json.dumps({"claims": found}, indent=1, ensure_ascii=False)
    page = Path(app.outdir, CLAIMS_PAGE)
    page.with_suffix(".json").write_text(f"{data}\n", encoding="utf-8")
    copy(Path(app.srcdir, f"{CLAIMS_PAGE}.schema.json"), page.with_suffix(".schema.json"))


def mend_page(app, pagename, templatename, context, doctree):
    """Mend what the tools get wrong: Thebe, loaded twice though off, and a list that is none.

    The Claims page also gets its script here, which no other page needs.
    """
    if pagename == CLAIMS_PAGE:
        app.add_js_file("claims.js", loading_method="defer")
    if "body" in context:  # docutils promises list items that it does not make
        context["body"] = context["body"].replace('<div role="list" class="c', '<div class="c')
    context["script_files"] = [
        script for script in context["script_files"] if "thebe" not in str(vars(script)).lower()
    ]
    context["css_files"] = [
        sheet for sheet in context["css_files"] if "thebe" not in str(sheet).lower()
    ]


class LessonFigure(SphinxDirective):
    """Show a figure of a lesson, with the caption and the alt text that it has there.

    The arguments are the lesson and the figure's name in it; ``:name:`` is the label here.
    """

    required_arguments = 2
    option_spec: ClassVar = {"name": str}

    def run(self):
        lesson, name = self.arguments
        cell, data = self.find(lesson, name)
        settings = cell["metadata"]["mystnb"]
        figure = nodes.figure()
        if "image/png" in data:
            image = nodes.image(uri=self.write_image(b64decode(text(data["image/png"]))))
            image["alt"] = settings["image"]["alt"]
            figure += image
        else:
            figure += nodes.raw("", text(data["text/html"]), format="html")
        caption = nodes.Element()
        self.state.nested_parse(StringList([settings["figure"]["caption"]]), 0, caption)
        figure += nodes.caption("", "", *caption[0].children)
        self.set_source_info(figure)
        self.add_name(figure)
        return [figure]

    def find(self, lesson, name):
        for cell in read_lesson(self.env.app, lesson):
            if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
                for output in cell["outputs"]:
                    if {"image/png", "text/html"} & set(output.get("data", {})):
                        return cell, output["data"]
        raise self.error(f"lesson {lesson!r} has no figure {name!r} with a stored output")

    def write_image(self, content):
        path = Path(self.env.app.doctreedir).parent / "figures"
        path = path / f"{sha256(content).hexdigest()[:16]}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        # Sphinx takes a leading slash as the source folder.
        return "/" + Path("..", path.relative_to(Path(self.env.app.srcdir).parent)).as_posix()


def setup(app):
    app.connect("source-read", fill_claims_page)
    app.connect("html-page-context", mend_page, priority=900)
    app.connect("build-finished", write_claims)
    app.add_directive("lesson-figure", LessonFigure)
    return {"version": "1", "parallel_read_safe": True}
