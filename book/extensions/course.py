"""Sphinx extension of the book: the Claims page and its data, lessons' figures in chapters."""

import json
import re
from ast import literal_eval
from collections import Counter
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path
from shutil import copy
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole
from tools.confirm import confirmation
from tools.confirm import read as read_confirmations
from tools.outputs import CHART
from vglib.claims import (
    ANSWERS,
    KINDS,
    VERDICT_MIME,
    all_claims,
    astray,
    check_rule,
    explained,
    opinion_on,
)

CLAIMS_PAGE, HISTORY_PAGE = "book/claims", "book/histories"
PLACEHOLDER = "<!-- every claim -->"
SHORT = 60  # characters of a claim's short form, so that it fits a row of a table
SAYS = {  # how the details name the settings that did not say yes
    "false": "False",
    "undecided": "Undecided",
    "silent": "Silent, as what the claim presupposes does not occur there",
}
FIRST_VERDICT = "First stored verdict: "
NOTHING, WORDS_ONLY = "nothing", "only the words"  # how an entry begins whose rule was not changed
CONFIRMED = {  # what the page says of the runs at base seeds that nobody had used
    True: "Confirmed.",
    False: "Not confirmed, so read it as undecided.",
    None: "",
}
PLAIN = re.compile(r'<span class="(?:[nopw]|nn|std std-ref)">([^<]*)</span>')  # code, links
SIGNATURE = re.compile(r'<dt class="sig.*?</dt>', re.DOTALL)
IN_SIGNATURE = re.compile(r'<span class="pre">([^<]*)</span>| title="Link to this definition"')
THEBE = re.compile(
    r'<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName = .*?</script>',
    re.DOTALL,
)
EMPTY_HEAD = re.compile(r'<th class="head[^"]*">(<p></p>)?</th>')
HISTORIES = {
    NOTHING: "no change recorded",
    WORDS_ONLY: "only words changed after a result",
    "rule or runs": "rule or runs changed after a result",
}


def staged(app, lesson):
    """Where a lesson stands for the build, and since when; a page read meanwhile depends on it."""
    path = Path(app.srcdir, "lessons", f"{lesson}.ipynb")
    if not path.exists():
        raise ExtensionError(f"there is no lesson {lesson!r}: {path} is missing")
    if "docname" in app.env.temp_data:
        app.env.note_dependency(str(path))
    return path, path.stat().st_mtime_ns


def read_lesson(app, lesson):
    """Cells of a lesson as staged for the build."""
    return cells_of(*staged(app, lesson))


@cache  # a lesson is asked for each of its claims and figures, and again for claims.json
def cells_of(path, changed):
    """The cells of a notebook as it was when it ``changed``."""
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


def find_credit(name, claim):
    """What the source says of a credit, in the form of a verdict; None where none was read."""
    if not {"answer", "place"} & set(claim):
        return None
    if missing := [field for field in ("answer", "place", "says") if not claim.get(field)]:
        raise ExtensionError(
            f"claim {name} is a credit: vglib/claims.toml wants answer, says and place, where in "
            f"the source it stands; it has no {missing[0]}"
        )
    if claim["answer"] not in ANSWERS:
        raise ExtensionError(f"claim {name}: its answer must be one of {', '.join(ANSWERS)}")
    return {"answer": claim["answer"], "effect": {"text": ""}, "conditions": []}  # no settings


def verdict_on(app, name, claim):
    """The verdict on a claim and the heading above it; None and None where nothing decides it."""
    check_kind(name, claim)
    if claim["kind"] == "credit":
        return find_credit(name, claim), None
    if "lesson" not in claim:
        return None, None
    try:
        rule = check_rule(name, claim)
    except ValueError as problem:
        raise ExtensionError(str(problem)) from problem
    verdict, heading = find_verdict(read_lesson(app, claim["lesson"]), name)
    found = astray(rule, {c["name"]: c["answer"] for c in verdict["conditions"]})
    if found:
        raise ExtensionError(
            f"claim {name}: its sentence in vglib/claims.toml was written for another outcome than "
            f"lesson {claim['lesson']} computed: {'; '.join(found)}"
        )
    confirmed = confirmation(verdict, read_confirmations())
    answer = "undecided" if confirmed.confirmed is False else verdict["answer"]
    return verdict | {"answer": answer, "rule": rule, "confirmed": confirmed}, heading


def opinions_on(app, name, claim):
    """What other lessons found about a claim: (claim of the opinion, verdict, heading) each."""
    for opinion in claim.get("opinions", {}):
        merged = opinion_on(claim, opinion)
        yield merged, *verdict_on(app, f"{name}/{opinion}", merged)


def slug(heading):
    """The anchor that MyST gives a heading: GitHub's rule."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def check_kind(name, claim):
    """Refuse a claim that does not say what kind of claim it is."""
    if claim.get("kind") not in KINDS:
        raise ExtensionError(
            f"claim {name}: vglib/claims.toml wants kind, one of {', '.join(KINDS)}; "
            f"it has {claim.get('kind')!r}"
        )


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
    word = verdict["answer"] if verdict else "not tested"
    return f'<b><i aria-hidden="true">{ANSWERS[word][0]}</i> {word}</b>'


def verdict_markdown(claim, verdict):
    """The answer and its sentence; in small print the size of the effect, exceptions, counts."""
    names = {answer: [] for answer in SAYS}
    for condition in verdict["conditions"]:
        names.get(condition["answer"], []).append(condition["name"])
    said = " ".join(f"*{SAYS[so]}:* {'; '.join(which)}." for so, which in names.items() if which)
    small = []
    if verdict["conditions"]:
        quantity = verdict["quantity"]
        small += [f"{quantity[0].upper()}{quantity[1:]}: {verdict['effect']['text']}."]
        small += [f"True in {verdict['holding']} of {verdict['tried']} settings."]
        small += ["At initialisation only."] * verdict["rule"].at_init
        confirmed = verdict["confirmed"]
        small += filter(None, [CONFIRMED[confirmed.confirmed], confirmed.why])
    else:
        small += [f"Read at: {claim['place']}."]
    word = verdict["answer"]
    return (
        f'<span data-answer="{word}">{answer_html(verdict)}.</span> {claim["says"]}\n\n'
        f"{said}\n\n<small>{' '.join(small)}</small>"
    )


def verdict_link(claim, heading):
    return f"../lessons/{claim['lesson']}.ipynb#{slug(heading)}"


def lesson_name(claim):
    return claim["lesson"].split("/")[-1].replace("_", " ")


def claim_row(name, claim, verdict, heading):
    """One claim as a row of its part's table: the claim, its answer, the effect, its lesson."""
    word = verdict["answer"] if verdict else "not tested"
    link = effect = ""
    if heading:  # in MyST, between blank lines, so that the build checks where it leads
        link = f"\n\n[{lesson_name(claim)}]({verdict_link(claim, heading)})\n\n"
    if verdict:
        effect = escape(verdict["effect"]["text"])
    return (
        f'<tr data-answer="{word}"><th scope="row"><a href="#claim-{name.lower()}"><b>{name}</b> '
        f"{escape(short(name, claim))}</a></th><td>{answer_html(verdict)}</td>"
        f"<td>{effect}</td><td>{link}</td></tr>"
    )


def claim_table(part, found):
    """A part's claims in the order of ``claims.toml``, each in a row."""
    rows = "\n".join(claim_row(name, *each) for name, each in found.items())
    head = ("claim", "answer", "how large", "lesson")
    head = "".join(f'<th scope="col">{word}</th>' for word in head)
    return f"""<table class="vg-claims" aria-label="{part}: claims and answers">
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table>
"""


def anchors(name):
    """The addresses of a claim; the first half of one that was split keeps the address of both."""
    whole = f"(claim-{name[:-1]})=\n" if name.endswith("a") else ""
    return f"{whole}(claim-{name})=\n"


def decided_in(claim, verdict, heading):
    """Where a claim was decided: there are the numbers."""
    link = f"[{lesson_name(claim)}]({verdict_link(claim, heading)})"
    return f"Decided in {link}."


def opinion_markdown(claim, verdict, heading):
    """What another lesson found about a claim."""
    said = f"Another lesson says {answer_html(verdict)}: {claim['says']}"
    return f"{said} {decided_in(claim, verdict, heading)}"


def treated_markdown(claim):
    """Where a claim that no lesson judges is derived or measured, or a credit told."""
    if "treated" not in claim:
        return ""
    page, hash_, anchor = claim["treated"].partition("#")
    name = page.split("/")[-1].replace("_", " ")
    what = "Told" if "answer" in claim else "Derived or measured, but not judged,"
    return f"{what} in [{name}]({page}.md{hash_}{anchor})."


def history_link(name, what):
    """A line that says what was changed and leads to the claim's rule and history."""
    return f"[Rule and history: {what}](#history-{name.lower()})"


def rules(name, claim):
    """A claim's rule in sentences, and those by which other lessons judged it."""
    if "lesson" not in claim:  # a credit, or one that was withdrawn
        return
    yield f"*Rule.* {explained(check_rule(name, claim))}"
    for opinion in claim.get("opinions", {}):
        other = opinion_on(claim, opinion)
        yield f"*Rule in {lesson_name(other)}.* {explained(check_rule(name, other))}"


def history_lines(app):
    """Rule and history of every claim that has one."""
    lines = []
    for name, claim in all_claims().items():
        if history := "\n".join(map(history_markdown, claim.get("history", []))):
            title = f"[{name}](#claim-{name.lower()}). {short(name, claim)}"
            parts = [f"(history-{name.lower()})=\n**{title}**", *rules(name, claim), history]
            verdict, _ = verdict_on(app, name, claim)
            if verdict and verdict["conditions"] and (otherwise := verdict["confirmed"].otherwise):
                parts += [f"*At fresh base seeds.* {otherwise}"]
            lines += ["\n\n".join(parts) + "\n"]
    return lines


def claim_markdown(app, name, claim, verdict, heading):
    """One claim in MyST: anchor, wording, verdict; links to all else."""
    source = f"{{cite:t}}`{claim['source']}`" if "source" in claim else "source not located"
    title, wording = f"{name}. {short(name, claim)}", f"{claim['wording']} ({source}.)"
    if not verdict:
        told = history_link(name, "judged once, and withdrawn") if claim.get("history") else ""
        treated = treated_markdown(claim)
        return f"{anchors(name)}**{title}.** {wording} *Not tested.* {treated}\n\n{told}"
    places = [decided_in(claim, verdict, heading)] if heading else [treated_markdown(claim)]
    places += [opinion_markdown(*each) for each in opinions_on(app, name, claim)]
    places += [history_link(name, HISTORIES[most_changed(name, claim)]) + "."]
    parts = [wording, verdict_markdown(claim, verdict), " ".join(filter(None, places))]
    body = "\n\n".join(parts)
    return f"{anchors(name)}:::{{admonition}} {title}\n:class: claim\n\n{body}\n:::\n"


def legend_html():
    """What each answer means, as a list; the script that filters by answer reads it."""
    items = "\n".join(
        f'<li data-answer="{word}">{answer_html({"answer": word})} {meaning}</li>'
        for word, (_, meaning) in ANSWERS.items()
    )
    return f'<ul class="vg-answers">\n{items}\n</ul>\n'


def judged_apart(claims):
    """Of each claim that says several things, how many: R21 is judged in R21a, R21b and R21c."""
    return Counter(name[:-1] for name in claims if name[-1].isalpha())


def claims_lines(app):
    """All claims: a table per part, and details below."""
    claims = all_claims()
    decided = {name: c for name, c in claims.items() if {"lesson", "answer"} & set(c)}
    most = Counter(most_changed(*item) for item in decided.items())
    apart = judged_apart(claims)
    lines = [
        f"{most.total()} of {len(claims)} claims are decided; {apart.total()} are parts of "
        f"{len(apart)} claims that say two or three things. After a result had been seen, "
        f"{most['rule or runs']} of these {most.total()} had their rule changed, or what it is "
        f"tried on; {most[WORDS_ONLY]} only the words of the answer; {most[NOTHING]} nothing, as "
        "far as is recorded.",
        "",
        legend_html(),
    ]
    for part, group in groupby(claims.items(), key=lambda item: item[1]["part"]):
        found = {name: (claim, *verdict_on(app, name, claim)) for name, claim in group}
        lines += [f"## {part}", "", claim_table(part, found)]
        decided_first = sorted(found, key=lambda name: not found[name][1])
        lines += [claim_markdown(app, name, *found[name]) for name in decided_first]
    return lines


def fill_page(app, docname, source):
    """Write the claims, or their rules and histories, into their page as it is read."""
    if docname not in FILLED:
        return
    if PLACEHOLDER not in source[0]:
        raise ExtensionError(f"{docname} has lost its placeholder {PLACEHOLDER!r}")
    source[0] = source[0].replace(PLACEHOLDER, "\n".join(FILLED[docname](app)))


FILLED = {CLAIMS_PAGE: claims_lines, HISTORY_PAGE: history_lines}


def verdict_data(claim, verdict):
    """What decides a claim and what came of it, as plain data."""
    fields = ("usual", "general", "effect", "quantity", "bound", "holding", "tried")
    return {
        "lesson": claim.get("lesson"),
        "answer": verdict["answer"] if verdict else "not tested",
        **{field: (verdict or {}).get(field) for field in fields},
        **{field: claim.get(field) for field in ("because", "says")},
        "at_init": claim.get("at_init", False),
        "confirmed": verdict["confirmed"].confirmed if verdict and verdict["conditions"] else None,
        "conditions": verdict["conditions"] if verdict else [],
    }


def claim_data(app, name, claim):
    """One claim as plain data, in the form of ``claims.schema.json``."""
    verdict, _ = verdict_on(app, name, claim)
    return {
        "id": name,
        "part": claim["part"],
        "kind": claim["kind"],
        "short": short(name, claim),
        "wording": claim["wording"],
        **{field: claim.get(field) for field in ("source", "place", "treated")},
        **verdict_data(claim, verdict),
        "opinions": [
            verdict_data(other, found) for other, found, _ in opinions_on(app, name, claim)
        ],
        "history": [
            entry | {"date": entry["date"].isoformat()} for entry in claim.get("history", [])
        ],
    }


def write_claims(app, exception):
    """Write all claims beside their page for programs, with the schema of what is written."""
    if exception or app.builder.format != "html":
        return
    found = [claim_data(app, name, claim) for name, claim in all_claims().items()]
    data = json.dumps({"claims": found}, indent=1, ensure_ascii=False)
    page = Path(app.outdir, CLAIMS_PAGE)
    page.with_suffix(".json").write_text(f"{data}\n", encoding="utf-8")
    copy(Path(app.srcdir, f"{CLAIMS_PAGE}.schema.json"), page.with_suffix(".schema.json"))


def mend_page(app, pagename, templatename, context, doctree):
    """Mend what the tools get wrong: lists and table heads that are none, names that nobody sees.

    Names, operators and punctuation in code are marked up, a third of a lesson's bytes, and a
    reader needs no colour for them; nor does the text of a link need a mark of its own. What Thebe
    would be told goes too, as it is off.

    The Claims page also gets its script here, which no other page needs.
    """
    if pagename == CLAIMS_PAGE:
        app.add_js_file("claims.js", loading_method="defer")
    if "body" in context:  # docutils promises list items that it does not make
        body = context["body"].replace('<div role="list" class="c', '<div class="c')
        body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")
        body = body.replace(' role="doc-biblioentry"', "")  # deprecated
        body = EMPTY_HEAD.sub("<td></td>", body)
        body = THEBE.sub("", SIGNATURE.sub(lambda one: IN_SIGNATURE.sub(r"\1", one[0]), body))
        body = PLAIN.sub(r"\1", body)
        context["body"] = body


@cache  # chapters ask hundreds of times
def glued(path, changed):
    """The numbers that a lesson gives to the book, by name, as it writes them."""
    found = {}
    for cell in cells_of(path, changed):
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name", "")
            data = {k: v for k, v in output.get("data", {}).items() if k.endswith("text/plain")}
            if name and data and VERDICT_MIME not in output["data"]:
                found[name] = literal_eval(text(next(iter(data.values()))))
    return found


class Number(SphinxRole):
    """A number by the name that a lesson gave it: ``{n}`depth-left-relu` ``.

    Exactly one lesson must have glued that name.
    """

    def run(self):
        folder = Path(self.env.app.srcdir, "lessons")
        paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.ipynb")]
        names = sorted(path.as_posix() for path in paths)
        found = {name: glued(*staged(self.env.app, name)) for name in names}
        owners = [name for name, numbers in found.items() if self.text in numbers]
        if len(owners) != 1:
            where = f"in {len(owners)} lessons: {', '.join(owners)}" if owners else "in no lesson"
            raise ExtensionError(f"{self.env.docname}: the number {self.text!r} is glued {where}")
        number = found[owners[0]][self.text].replace(" × ", "\u00a0×\u00a0")
        return [nodes.inline("", number, classes=["number"])], []


def describe_outputs(app, docname, source):
    """Give a lesson's charts their alt text, and its cards what other base seeds said against."""
    if not docname.startswith("lessons/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                html = described(cell, text(data["text/html"]))
                data["text/html"] = doubted(html, data.get(VERDICT_MIME))
    source[0] = json.dumps(notebook)


def described(cell, html):
    """The HTML of a cell's chart with its alt text from the metadata, where there is one."""
    alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")
    if not alt or html.count(CHART) != 1:
        return html
    return re.sub(r'(role="img" aria-label)="[^"]*"', lambda m: f'{m[1]}="{escape(alt)}"', html)


def doubted(html, verdict):
    """The HTML of a verdict's card; one that was not confirmed is undecided, and says why."""
    found = verdict and confirmation(verdict, read_confirmations())
    if not found or found.confirmed is not False:
        return html
    for old, new in (
        (ANSWERS[verdict["answer"]][0], ANSWERS["undecided"][0]),
        (f"{verdict['answer'].capitalize()}.</strong>", "Undecided.</strong>"),
    ):
        html = html.replace(old, new, 1)
    return html.replace("<details>", f"<p>{CONFIRMED[False]} {escape(found.why)}</p><details>", 1)


class LessonFigure(SphinxDirective):
    """Show a figure of a lesson, with the caption and the alt text that it has there.

    The arguments are the lesson and the figure's name in it; ``:name:`` is the label here, and
    ``:start: 2,0,1`` the choices at which a slider figure starts here, counted from 0.
    """

    required_arguments = 2
    option_spec: ClassVar = {"name": str, "start": str}

    def run(self):
        lesson, name = self.arguments
        cell, data = self.find(lesson, name)
        settings = cell["metadata"]["mystnb"]
        figure = nodes.figure()
        html = described(cell, text(data["text/html"]))
        if "start" in self.options:
            start = f'"start":[{self.options["start"]}]'
            html, count = re.subn(r'"start":\[[\d,]*\]', start, html)
            if count != 1:
                raise self.error(f"figure {name!r} of lesson {lesson!r} is no slider figure")
        figure += nodes.raw("", html, format="html")
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
                    if "text/html" in output.get("data", {}):
                        return cell, output["data"]
        raise self.error(f"lesson {lesson!r} has no figure {name!r} with a stored output")


class DiagnosisTable(SphinxDirective):
    """What the instrument says, and what to do then: its ``causes`` or its ``traps``."""

    required_arguments = 1

    def run(self):
        from vglib.diagnosis import CAUSES, SAID, TRAPS  # here: only one page needs torch

        rows = {
            "causes": {SAID.get(name, name): advice for name, (_, advice) in CAUSES.items()},
            "traps": {name: advice for name, (_, advice) in TRAPS.items()},
        }[self.arguments[0]]
        lines = ["| it says | do this |", "|---|---|"]
        lines += [f"| **{name}** | {advice} |" for name, advice in rows.items()]
        table = nodes.Element()
        self.state.nested_parse(StringList(lines), 0, table)
        return table.children


def setup(app):
    app.connect("source-read", fill_page)
    app.connect("source-read", describe_outputs)
    app.connect("html-page-context", mend_page, priority=900)
    app.connect("build-finished", write_claims)
    app.add_directive("diagnosis-table", DiagnosisTable)
    app.add_directive("lesson-figure", LessonFigure)
    app.add_role("n", Number())
    return {"version": "1", "parallel_read_safe": True}
