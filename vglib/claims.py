"""Claims under test: rules stated in ``claims.toml``, answers computed from what was measured.

A verdict and a glued number are ordinary cell outputs that carry a name in their metadata. The book
collects them from the stored notebooks; nothing but IPython is needed to make them.
"""

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

import numpy as np

from vglib.lesson import readable

VERDICT_MIME = "application/vnd.vglib.verdict+json"
SEEDS_NEEDED = 5
AGREEMENT = 0.9  # share of seeds that must agree before a condition is decided
KINDS = {  # what a claim says, and so how it is judged
    "always": "says that something happens: judged by every setting",
    "can": "says that something may happen: one setting that shows it is enough",
    "more": "says that more goes with more, or with less: judged by the direction, seed by seed",
    "because": "names a cause: judged by a change of the cause alone, beside a control",
    "sign": "says that one thing tells another: judged by what it catches, and by false alarms",
    "is": "says what something is: checked once",
    "credit": "says who found what: judged by the source",
}
ANSWERS = {  # a word, its mark, and what it says
    "yes": ("✓", "true in all settings that were tried"),
    "usually": ("✓", "true in all usual settings, not in all others"),
    "it can": ("✓", "seen in at least one setting"),
    "it depends": ("◐", "true in some usual settings, false or undecided in others"),
    "not usually": ("✗", "false in all usual settings, not in all others"),
    "not as said": ("✗", "without the cause that it names it happens all the same"),
    "no": ("✗", "false in all settings that were tried"),
    "undecided": ("?", "the seeds disagree, or a longer run could still tell"),
    "not tested": ("–", "no lesson has tried it"),
}
SO = {True: "true", False: "false", None: "undecided"}
SILENT = "silent"  # of a setting in which what the claim presupposes does not occur
FIELDS = (  # of a rule; a claim has others beside them
    *("quantity", "at_least", "at_most", "because", "also", "control"),
    *("ill", "healthy", "recall_at_least", "false_alarms_at_most"),
    *("usual", "stress", "at_init", "more_than", "less_than", "repeats", "recorded"),
    *("says", "fails", "undecided", "silent"),
)
FOR_A_SIGN = ("ill", "healthy", "recall_at_least", "false_alarms_at_most")
OF_THE_CLAIM = ("part", "short", "wording", "kind", "source")
BESIDE = (*OF_THE_CLAIM, "lesson", "treated", "answer", "place", "history", "opinions")
LISTS = ("ill", "healthy", "usual", "stress", "more_than", "less_than", "recorded")
LISTS += ("fails", "undecided", "silent")


@cache
def all_claims() -> dict:
    """Every claim of the course, by id, as read from ``claims.toml``."""
    return tomllib.loads(files("vglib").joinpath("claims.toml").read_text(encoding="utf-8"))


def recorded(name: str) -> list[dict]:
    """The runs of the course's script ``benchmarks/{name}.py``, kept with the library.

    A list of dicts, one a run: its ``settings``, and its ``values`` by name.
    """
    path = files("vglib").joinpath("records", f"{name}.json")
    return json.loads(path.read_text(encoding="utf-8"))["runs"]


@dataclass(frozen=True)
class Rule:
    """How a claim is decided, as ``claims.toml`` states it. `rule` makes one, and checks it."""

    claim: str  # "C7", or "R17/recall" for another opinion on R17
    kind: str
    wording: str
    short: str
    quantity: str
    because: str
    says: str
    at_least: float | None = None
    at_most: float | None = None
    also: str = ""
    control: str = ""
    ill: tuple = ()
    healthy: tuple = ()
    recall_at_least: float | None = None
    false_alarms_at_most: float | None = None
    usual: tuple = ()
    stress: tuple = ()
    at_init: bool = False
    more_than: tuple = ()
    less_than: tuple = ()
    repeats: Mapping = None
    recorded: tuple = ()
    fails: tuple = ()
    undecided: tuple = ()
    silent: tuple = ()

    @property
    def bound(self) -> str:
        """The bound in words, with what else must be true."""
        if self.kind == "sign":
            return (
                f"catches at least {100 * self.recall_at_least:.0f} % of what it should and alarms "
                f"at most {100 * self.false_alarms_at_most:.0f} % of the rest"
            )
        if self.kind == "more":
            words = f"{'above' if self.at_least is not None else 'below'} {self._number:g}"
        else:
            words = f"at {'least' if self.at_least is not None else 'most'} {self._number:.4g}"
        words += f", and {self.also}" if self.also else ""
        return words + (f", and it is not so for the control, {self.control}" * bool(self.control))

    @property
    def _number(self):
        return self.at_least if self.at_least is not None else self.at_most

    def passes(self, values: np.ndarray) -> np.ndarray:
        """For each of ``values`` whether it is on the right side of the bound."""
        values = np.asarray(values, dtype=float)
        if self.kind == "more":  # no difference is no direction
            return values > self.at_least if self.at_least is not None else values < self.at_most
        return values >= self.at_least if self.at_least is not None else values <= self.at_most

    @property
    def sentence(self) -> str:
        """When the claim is true, in a sentence."""
        return f"True where the {self.quantity} {'' if self.kind == 'sign' else 'is '}{self.bound}."

    def _repr_html_(self):
        return (
            f"<p class='vg-trial'><strong>On trial:</strong> “{escape(self.wording)}” "
            f"<small>(Claim {self.claim}: measured next, by a rule that is fixed. Rule and answer "
            "stand at the end.)</small></p>"
        )

    def __repr__(self):
        return f"On trial: {self.claim}. {self.short}."


def rule(name: str) -> Rule:
    """The rule of a claim, or of another lesson's opinion on it: ``"C7"``, ``"R17/recall"``.

    Raises ValueError, with the claim's name, for a rule that is not there or lacks something.
    """
    claim, _, opinion = name.partition("/")
    if claim not in all_claims():
        raise ValueError(f"unknown claim {claim!r}; choose one of: {', '.join(all_claims())}")
    entry = all_claims()[claim]
    if opinion and opinion not in entry.get("opinions", {}):
        raise ValueError(
            f"claim {claim} has no opinion {opinion!r}; choose one of: "
            f"{', '.join(entry.get('opinions', {})) or 'none'}"
        )
    return check_rule(name, opinion_on(entry, opinion) if opinion else entry)


def opinion_on(claim: dict, opinion: str) -> dict:
    """Another lesson's opinion on a claim as a claim: the same words, and a rule of its own."""
    same = {field: claim[field] for field in OF_THE_CLAIM if field in claim}
    return same | claim["opinions"][opinion]


def check_rule(name: str, claim: dict) -> Rule:
    """The `Rule` in ``claim``, an entry of ``claims.toml``; ValueError says what it lacks."""

    def wants(what):
        raise ValueError(f"claim {name}: vglib/claims.toml wants {what}")

    kind = claim.get("kind")
    if kind not in KINDS:
        wants(f"kind, one of {', '.join(KINDS)}; it has {kind!r}")
    if kind == "credit":
        wants("no rule for a credit: it is judged by its source, with answer and place")
    if astray := set(claim) - {*FIELDS, *BESIDE}:
        wants(f"no field {min(astray)!r}; a rule has {', '.join(FIELDS)}")
    if astray := [f for f in LISTS if not _is_list_of_names(claim.get(f, []))]:
        wants(f"{astray[0]} as a list of names, each once; it has {claim[astray[0]]!r}")
    for field in ("short", "wording", "quantity", "because", "says"):
        if not claim.get(field):
            what = {"because": "because, why the bound stands where it does"}.get(field, field)
            wants(f"{what}; it has none")
    if twice := [word for word in ANSWERS if re.match(f"{word}[.,:]", claim["says"].lower())]:
        wants(f"says without the answer {twice[0]!r} in front, which stands before it as it is")
    bounds = [claim[b] for b in ("at_least", "at_most") if b in claim]
    if kind == "sign":
        limits = [claim.get(f) for f in ("recall_at_least", "false_alarms_at_most")]
        if bounds or not all(_is_number(limit) and 0 <= limit <= 1 for limit in limits):
            wants("recall_at_least and false_alarms_at_most for a sign, both shares from 0 to 1")
        ill, healthy = claim.get("ill", []), claim.get("healthy", [])
        if not ill or not healthy or {*ill} & {*healthy}:
            wants("for a sign ill and healthy, the situations that it is tried on, each in one")
        if astray := [f for f in ("also", "more_than", "less_than") if claim.get(f)]:
            wants(f"no {astray[0]} for a sign")
    elif len(bounds) != 1 or not _is_number(bounds[0]):
        wants(f"one finite bound, at_least or at_most; it has {bounds or 'none'}")
    elif astray := [f for f in FIELDS if f in FOR_A_SIGN and f in claim]:
        wants(f"{astray[0]} for a sign only")
    if kind == "more" and bounds[0] not in (0, 1):
        wants(
            "for 'more' the bound at which there is no difference, 1 for a ratio or 0 for a "
            f"difference, not {bounds[0]}: another one tests another claim"
        )
    if (kind == "because") != bool(claim.get("control")):
        wants("control for a 'because', what it is compared with, and for no other kind")
    tried = [*claim.get("usual", ()), *claim.get("stress", ())]
    if not tried or len(set(tried)) < len(tried):
        wants(f"usual and stress, each setting once; it has {tried or 'none'}")
    marked = [*claim.get("repeats", {}), *claim.get("repeats", {}).values()]
    for field in ("more_than", "less_than", "recorded", "fails", "undecided", "silent"):
        marked += claim.get(field, [])
    if astray := [setting for setting in marked if setting not in tried]:
        wants(f"only settings that are usual or stress; {astray[0]!r} is neither")
    for fields in (("fails", "undecided", "silent"), ("more_than", "less_than")):
        listed = [setting for field in fields for setting in claim.get(field, [])]
        if astray := [setting for setting in listed if listed.count(setting) > 1]:
            wants(f"each setting in one of {', '.join(fields)}; {astray[0]!r} is in two")
    if astray := [s for s in claim.get("repeats", {}).values() if s in claim["repeats"]]:
        wants(f"repeats to name what counts; {astray[0]!r} itself repeats another")
    given = {field: claim[field] for field in FIELDS if field in claim}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return Rule(name, kind, claim["wording"], claim["short"], **{"repeats": {}} | given)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list_of_names(value):
    is_list = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    return is_list and len(set(value)) == len(value)


def on_trial(*names: str) -> None:
    """One line for each claim that is about to be measured: what it says, and who decides."""
    from IPython.display import display

    display(*[rule(name) for name in names])


@dataclass(frozen=True)
class Setting:
    """What the seeds said in one setting; ``answer`` is None where they disagree, or "silent"."""

    name: str
    is_usual: bool
    answer: bool | str | None
    numbers: dict  # by name: median, low, high; of a sign caught, ill, false_alarms, healthy
    marks: tuple = ()


@dataclass(frozen=True)
class Verdict:
    """What a lesson found about a claim; shows itself as a card, and the book collects it."""

    rule: Rule
    settings: tuple

    @property
    def usual(self) -> str:
        """The answer in the usual settings: yes, no, it depends, undecided."""
        return self._sum_up([s for s in self.settings if s.is_usual] or self.settings)

    @property
    def general(self) -> str:
        """The answer in all settings."""
        return self._sum_up(self.settings)

    def _sum_up(self, settings):
        answers = [s.answer for s in settings if s.answer != SILENT]
        if self.rule.kind == "can" and True in answers:
            return "yes"
        if True in answers:
            return "yes" if all(answers) else "it depends"
        return "no" if answers and None not in answers else "undecided"

    @property
    def answer(self) -> str:
        """The answer in a word of `ANSWERS`."""
        usual, general = self.usual, self.general
        if self.rule.kind == "can":
            return "it can" if general == "yes" else general
        if usual == "yes":
            return "yes" if general == "yes" else "usually"
        if usual == "no" and self.rule.kind == "because":
            return "not as said"
        return "not usually" if usual == "no" and general != "no" else usual

    @property
    def holding(self) -> int:
        """In how many settings the claim is true; one that repeats another is not counted."""
        return sum(s.answer is True for s in self._counted)

    @property
    def tried(self) -> int:
        """How many settings count: not the silent ones, and not those that repeat another."""
        return len(self._counted)

    @property
    def _counted(self):
        repeated = self.rule.repeats
        return [s for s in self.settings if s.answer != SILENT and s.name not in repeated]

    def __getitem__(self, name):
        return {s.name: s.answer for s in self.settings}[name]

    def __str__(self):
        return f"{self.rule.claim}: {self.answer}"

    @property
    def effect(self) -> dict:
        """How large, in the usual settings: numbers by name, and in words under ``text``."""
        spoken = self._counted
        usual = [s for s in spoken if s.is_usual] or spoken
        if not usual:
            return {"text": "none to be seen"}
        if self.rule.kind == "can":
            true, of = sum(s.answer is True for s in usual), len(usual)
            text = f"in {true} of {of} {'usual ' * usual[0].is_usual}settings"
            return {"seen": true, "of": of, "text": text}
        if self.rule.kind == "sign":
            caught = [s.numbers["caught"] for s in usual]
            cried = [s.numbers["false_alarms"] for s in usual]
            ill, healthy = len(self.rule.ill), len(self.rule.healthy)
            numbers = {"caught_low": min(caught), "caught_high": max(caught), "ill": ill}
            numbers |= {"false_alarms_low": min(cried), "false_alarms_high": max(cried)}
            text = f"catches {_span(caught)} of {ill}, false alarms {_span(cried)} of {healthy}"
            return numbers | {"healthy": healthy, "text": text}
        ends = [pick(usual, key=lambda s: s.numbers["median"]) for pick in (min, max)]
        low, high = (s.numbers["median"] for s in ends)
        texts = [_limited(self.rule, s.name) + readable(s.numbers["median"], 2) for s in ends]
        return {"low": low, "high": high, "text": " to ".join(dict.fromkeys(texts))}

    def astray(self) -> list[str]:
        """Where this is another outcome than the sentence was written for, setting by setting."""
        return astray(self.rule, {s.name: SO.get(s.answer, s.answer) for s in self.settings})

    def as_json(self) -> dict:
        """The verdict as plain data."""
        return {
            "claim": self.rule.claim,
            "kind": self.rule.kind,
            "answer": self.answer,
            "usual": self.usual,
            "general": self.general,
            "effect": self.effect,
            "quantity": self.rule.quantity,
            "bound": self.rule.bound,
            "holding": self.holding,
            "tried": self.tried,
            "conditions": [
                {
                    "name": s.name,
                    "usual": s.is_usual,
                    "answer": SO.get(s.answer, s.answer),
                    **s.numbers,
                    "marks": list(s.marks),
                }
                for s in self.settings
            ],
        }

    def _repr_mimebundle_(self, include=None, exclude=None):
        verdict = self.as_json()
        data = {
            "text/plain": str(self),
            "text/html": self._card(verdict),
            VERDICT_MIME: verdict,
        }
        return data, {"scrapbook": {"name": f"verdict-{self.rule.claim}", "mime_prefix": ""}}

    def _card(self, verdict):
        mark, word = ANSWERS[self.answer][0], self.answer.capitalize()
        other = "".join(f"<li>{escape(line)}</li>" for line in self.astray())
        if other:
            other = f"<p>The sentence was written for another outcome:</p><ul>{other}</ul>"
        return (
            f"<div class='vg-card'><p><strong>{self.rule.claim}.</strong> "
            f"“{escape(self.rule.wording)}”</p>"
            f"<p><strong><span aria-hidden='true'>{mark}</span> {word}.</strong> "
            f"{escape(self.rule.says)}</p>{other}<details><summary>{self.holding} of {self.tried} "
            f"settings; the rule and what was measured</summary><p>{escape(explained(self.rule))}"
            f"</p><div class='vg-table' tabindex='0' role='region' aria-label='Settings of "
            f"{self.rule.claim}'>{verdict_table(verdict)}</div></details></div>"
        )


def explained(rule: Rule) -> str:
    """A rule in sentences: its kind, quantity, bound, the reason for it, and what limits it."""
    text = f"The claim {KINDS[rule.kind]}. {rule.sentence} {rule.because}"
    return text + " Measured at initialisation only." * rule.at_init


def astray(rule: Rule, answers: Mapping) -> list[str]:
    """Where ``answers``, setting → word, are not those that a rule's sentence was written for."""
    wanted = dict.fromkeys([*rule.usual, *rule.stress], "true")
    for word, field in (("false", "fails"), ("undecided", "undecided"), (SILENT, "silent")):
        wanted |= dict.fromkeys(getattr(rule, field), word)
    names = [*wanted, *(name for name in answers if name not in wanted)]
    pairs = [(n, answers.get(n, "not tried"), wanted.get(n, "listed")) for n in names]
    return [f"{n}: {is_so}, not {was}" for n, is_so, was in pairs if is_so != was]


def decide(
    claim: str,
    measured: Mapping,
    *,
    also: Mapping | None = None,
    control: Mapping | None = None,
    premise: Mapping | None = None,
) -> Verdict:
    """Decide a claim by its rule from ``measured``: setting → one value per seed.

    Within a setting nine tenths of the seeds must agree. ``also`` (a further requirement),
    ``premise`` (what the claim presupposes: where it fails, the setting is silent) map settings to
    one truth value per seed, ``control`` to one value per seed, which must not pass. For a sign
    ``measured`` maps each sign to situation → whether it alarms, one truth value per seed; for what
    something *is*, each setting to one number.

    Raises ValueError unless exactly the settings of the rule are given, with five seeds or more.
    """
    law = rule(claim)
    tried = [*law.usual, *law.stress]
    if set(tried) != set(measured):
        missing = [name for name in tried if name not in measured]
        unknown = [name for name in measured if name not in tried]
        problem = f"{missing[0]!r} was not measured" if missing else f"{unknown[0]!r} is neither"
        raise ValueError(f"claim {claim} is tried on what is usual or stress: {problem}")
    for what, given, wanted in (("also", also, law.also), ("control", control, law.control)):
        if set(given or {}) != (set(tried) if wanted else set()):
            raise ValueError(
                f"claim {claim}: {what} must have one entry for each setting"
                if wanted
                else f"claim {claim} has a rule without {what}"
            )
    if premise and law.kind == "sign":
        raise ValueError(f"claim {claim} is about a sign, which has no premise")
    if astray := set(premise or {}) - set(tried):
        raise ValueError(f"claim {claim}: premise of {min(astray)!r}, which is no setting")
    settings = []
    for name in tried:
        if law.kind == "sign":
            answer, numbers = _decide_sign(law, name, measured[name])
        else:
            values = _seeds(law, name, measured[name])
            passes = law.passes(values)
            numbers = dict(zip(("median", "low", "high"), _quantiles(values), strict=True))
            rest = np.ones(len(values), dtype=bool)
            if also:
                rest = rest & _truths(name, also[name], values)
            if control:
                compared = _seeds(law, name, control[name])
                if len(compared) != len(values):
                    raise ValueError(
                        f"claim {claim}: {name!r} has {len(values)} seeds, and its control "
                        f"{len(compared)}"
                    )
                rest = rest & ~law.passes(compared)
                numbers["control"] = _quantiles(compared)[0]
            # A value that was cut off may lie beyond the bound. Is the answer the same if it does?
            upward = law.at_least is not None
            may = passes | (name in (law.more_than if upward else law.less_than))
            must = passes & (name not in (law.less_than if upward else law.more_than))
            answer, other = _agreed(may & rest), _agreed(must & rest)
            answer = answer if answer is other else None
            if premise and name in premise:
                occurs = _agreed(_truths(name, premise[name], values))
                answer = {True: answer, False: SILENT, None: None}[occurs]
        settings.append(Setting(name, name in law.usual, answer, numbers, _marks(law, name)))
    verdict = Verdict(law, tuple(settings))
    for name, other in law.repeats.items():
        if verdict[name] != verdict[other]:
            raise ValueError(
                f"claim {claim}: {name!r} is said to repeat {other!r} and answers otherwise"
            )
    return verdict


def _decide_sign(law, sign, alarms):
    if set(alarms) != {*law.ill, *law.healthy}:
        raise ValueError(
            f"claim {law.claim}, sign {sign!r}: wanted are alarms for the situations "
            f"{[*law.ill, *law.healthy]}, not {list(alarms)}"
        )
    told = {
        name: _agreed(_truths(name, values, _seeds(law, name, values)))
        for name, values in alarms.items()
    }
    best, worst = [], []  # an undecided situation counts for the sign, and against it
    for for_it, against in ((best, False), (worst, True)):
        recall = np.mean([told[n] is True or (told[n] is None and not against) for n in law.ill])
        false = np.mean([told[n] is True or (told[n] is None and against) for n in law.healthy])
        for_it += [recall >= law.recall_at_least and false <= law.false_alarms_at_most]
    answer = best[0] if best == worst else None
    numbers = {
        "caught": sum(told[name] is True for name in law.ill),
        "ill": len(law.ill),
        "false_alarms": sum(told[name] is True for name in law.healthy),
        "healthy": len(law.healthy),
    }
    return answer if answer is None else bool(answer), numbers


def _seeds(law, name, values):
    values = np.atleast_1d(np.asarray(values, dtype=float))
    if law.kind == "is" and values.shape != (1,):
        raise ValueError(f"{name!r} needs one number, not an array of shape {values.shape}")
    if law.kind != "is" and (values.ndim != 1 or len(values) < SEEDS_NEEDED):
        raise ValueError(
            f"{name!r} needs one value for each of {SEEDS_NEEDED} seeds or more, "
            f"not an array of shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name!r} has values that are not finite: {values}")
    return values


def _truths(name, given, values):
    given = np.asarray(given, dtype=float)
    if given.shape != values.shape:
        raise ValueError(
            f"{name!r} needs one truth value for each of {len(values)} seeds, "
            f"not an array of shape {given.shape}"
        )
    if not np.isin(given, (0, 1)).all():
        raise ValueError(f"{name!r} needs truth values, not {given}")
    return given == 1


def _agreed(truths):
    return next((a for a in (True, False) if (truths == a).mean() >= AGREEMENT), None)


def _quantiles(values):
    return [float(f"{v:.4g}") for v in np.quantile(values, [0.5, 0, 1])]


def _limited(law, name):
    return "more than " * (name in law.more_than) + "at most " * (name in law.less_than)


def _span(counts):
    return " to ".join(dict.fromkeys(map(str, (min(counts), max(counts)))))


def _marks(law, name):
    marks = [_limited(law, name).strip()]
    marks += [f"the same as {law.repeats[name]}"] if name in law.repeats else []
    return tuple(filter(None, [*marks, "from a record" * (name in law.recorded)]))


def verdict_table(verdict: Mapping) -> str:
    """HTML table of a verdict in the form of `Verdict.as_json`, a row per setting."""
    is_sign = verdict["kind"] == "sign"
    head = ["caught", "false alarms"] if is_sign else ["median", "range over seeds"]
    head += ["control"] * any("control" in c for c in verdict["conditions"])
    rows = ""
    for c in verdict["conditions"]:
        if is_sign:
            cells = [f"{c['caught']} of {c['ill']}", f"{c['false_alarms']} of {c['healthy']}"]
        else:
            limit = next((m + " " for m in c["marks"] if m in ("more than", "at most")), "")
            cells = [limit + readable(c["median"])]
            cells += [f"{readable(c['low'])} to {readable(c['high'])}"]
            cells += [readable(c["control"])] if "control" in c else []
        notes = [m for m in c["marks"] if m not in ("more than", "at most")]
        name = escape(c["name"]) + "".join(f" <small>({escape(note)})</small>" for note in notes)
        cells = "".join(f"<td>{cell}</td>" for cell in cells)
        use = "usual" if c["usual"] else "stress"
        rows += f"<tr><th scope='row'>{name}</th><td>{use}</td><td>{c['answer']}</td>{cells}</tr>"
    head = "".join(f"<th scope='col'>{word}</th>" for word in ("setting", "kind", "so?", *head))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
