"""What a lesson prints, number by number: the digits that survive, and whether two runs agree.

A deep chaotic network multiplies rounding by many powers of ten, so that another processor prints
other digits. `keep_what_survives` takes several runs of a lesson that differ in how the machine
rounds and in nothing else. It leaves each number the digits that they confirm, the last of them
within five, and each cell the tolerance of each of its numbers. `differences` compares a later run
with what is stored: words exactly, numbers within their tolerance.
"""

import json
import math
import re
from string import ascii_lowercase, digits

import numpy as np

TOLERANCES = "vglib_tolerances"  # in a cell's metadata, a word for each text of its outputs
# In such a word a character stands for a number: how many units of its last stored digit another
# run may be off, on the scale 1, 2, 5, 10 … For the rest, one unit where there is a decimal point
# or a power of ten, and none where there is not: whole numbers are counts and names.
SCALE = {name: (1, 2, 5)[i % 3] * 10 ** (i // 3) for i, name in enumerate(digits + ascii_lowercase)}
REST = "."
DOUBTFUL = 5  # how many units of the last digit that is kept the runs may lie apart
MARGIN = 3  # how many times the distance between the runs another run may be away
NEIGHBOURS = 2  # by luck a number may agree in all runs, so its neighbours have a say

# A number by itself: the digits of C11, fef75cda, 2.13.0 and 960x360 are parts of a word. A comma
# sets off thousands, but not in a list like [100,200].
NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:(?<![\[,])\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
    r"(?:e[-+]?\d+|[ \u00a0]×[ \u00a0]10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?(?!\w|\.\d)"
)
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
LARGE = re.compile(r"\b\d{5,}\.0\b")  # how JSON writes a large number: 12650000000000.0
CHART = 'class="vg-chart"'
NOT_COMPARED = ("image/png", "application/vnd.jupyter.widget-view+json")


class Number:
    """A number as it is written: its value, and the unit of its last digit."""

    def __init__(self, text):
        parts = re.fullmatch(r"([-+−]?)([\d.,]+)(e|[ \u00a0]×[ \u00a0]10|)(.*)", text)
        self.text, (self.sign, mantissa, self.times, self.power) = text, parts.groups()
        self.mantissa = mantissa.replace(",", "")
        self.comma = "," if "," in mantissa else ""
        exponent = int(self.power.translate(SUPERSCRIPTS) or 0)
        self.decimals = len(self.mantissa.partition(".")[2])
        self.is_whole = self.decimals == 0 and not self.times
        self.unit = 10.0 ** (exponent - self.decimals)
        self.value = float(f"{self.mantissa}e{exponent}") * (1 if self.sign in ("", "+") else -1)

    def rounded(self, lost):
        """This number as text without its last ``lost`` digits; one digit always stays."""
        if lost == 0:
            return self.text
        figures = len(self.mantissa.replace(".", "").lstrip("0")) or self.decimals + 1
        places = self.decimals - min(lost, figures - 1)
        mantissa = f"{round(float(self.mantissa), places):{self.comma}.{max(places, 0)}f}"
        if self.times and float(mantissa) >= 10:  # down, as 10 × 10⁸ is not how it is written
            mantissa = f"{math.floor(float(self.mantissa) * 10**places) / 10**places:.{places}f}"
        return self.sign + mantissa + self.times + self.power


def texts(outputs):
    """The comparable texts of a cell's outputs, each with where it stands: (place, kind), text."""
    for place, output in enumerate(outputs):
        for kind in ("text", "evalue"):
            if kind in output:
                yield (place, kind), output[kind]
        for kind, content in sorted(output.get("data", {}).items()):
            is_chart = kind == "text/html" and CHART in content  # its numbers are coordinates
            if kind not in NOT_COMPARED and not is_chart:
                if not isinstance(content, str):
                    content = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
                    content = LARGE.sub(as_power, content)
                yield (place, kind), content


def as_power(match):
    """A large number with a power of ten, so that its digits are those it was given: 1.265e+13."""
    return np.format_float_scientific(float(match[0]), trim="-")


def keep_what_survives(notebook, others):
    """Round each number in the outputs of ``notebook`` to the digits that ``others`` confirm.

    Its cells get their tolerances. Returns, by the number of the cell, the words that differ: of
    cells tagged ``nbval-ignore-output`` these may, and then they keep all digits where they do.
    """
    complaints = {}
    for index, cells in enumerate(zip(notebook.cells, *(o.cells for o in others), strict=True)):
        cell = cells[0]
        cell.metadata.pop(TOLERANCES, None)
        if cell.cell_type != "code":
            continue
        runs = [dict(texts(c.outputs)) for c in cells]
        notes = []
        for where in runs[0]:
            versions = [run.get(where, "") for run in runs]
            merged = []
            for version in split(versions):
                if len({*map(str, map(words, version))}) > 1:
                    complaints.setdefault(index, sorted({*version}))
                    merged.append((version[0], REST * len(NUMBER.findall(version[0]))))
                else:
                    merged.append(merge(version))
            put(cell.outputs, where, "".join(piece for piece, _ in merged))
            notes.append("".join(note for _, note in merged))
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            complaints.pop(index, None)
        elif any(note.strip(REST) for note in notes):
            cell.metadata[TOLERANCES] = " ".join(notes)
    return complaints


def split(versions):
    """The versions of a text whole or, where their words differ, by lines and rows of a table."""
    pieces = [re.split(r"(?<=\n)|(?=<tr>)", version) for version in versions]
    if len({*map(str, map(words, versions))}) == 1 or len({*map(len, pieces)}) > 1:
        return [versions]
    return list(zip(*pieces, strict=True))


def words(text):
    """What is left of ``text`` without its numbers, and without spaces that line them up."""
    return NUMBER.split(re.sub(" +", " ", text))


def merge(versions):
    """The first of some texts of the same words, its numbers rounded, and their tolerances."""
    columns = zip(*(map(Number, NUMBER.findall(version)) for version in versions), strict=True)
    moved = [distance(column) for column in columns]
    text = versions[0]
    merged, note, end = "", "", 0
    for i, match in enumerate(NUMBER.finditer(text)):
        number = Number(match[0])
        # A curve of a slider figure is drawn, not read: it keeps a digit more, or it has steps.
        is_drawn = text[match.start() - 1 : match.start()] in ("[", ",")
        stored = Number(number.rounded(lost=max(0, digits_lost(moved[i]) - is_drawn)))
        merged += text[end : match.start()] + stored.text
        end = match.end()
        near = max(moved[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1])
        is_measured = not number.is_whole or text[end:].lstrip().startswith("%")
        if moved[i] or (near and is_measured):
            off = MARGIN * near * number.unit + abs(stored.value - number.value)
            note += next(name for name, step in SCALE.items() if step * stored.unit >= off)
        else:
            note += REST
    return merged + text[end:], note


def distance(numbers):
    """How far some numbers lie apart, in units of the last digit of the first."""
    if len({number.text for number in numbers}) == 1:
        return 0.0
    first, values = numbers[0], [number.value for number in numbers]
    apart = max(values) - min(values)
    if first.times and min(values) * max(values) > 0:  # of several sizes: by their ratio
        sizes = [abs(value) for value in values]
        apart = abs(first.value) * (max(sizes) / min(sizes) - 1)
    return max(apart / first.unit, 1.0)


def digits_lost(moved):
    """How many last digits mean nothing when the runs are ``moved`` units apart.

    The last digit that stays may be off by five. Else 96 and 97 of a hundred became 100.
    """
    return max(0, math.ceil(math.log10(moved / DOUBTFUL) - 1e-9)) if moved else 0


def put(outputs, where, text):
    """Write back what `texts` gave."""
    place, kind = where
    if kind not in outputs[place].get("data", {}):
        outputs[place][kind] = text
    elif isinstance(outputs[place]["data"][kind], str):
        outputs[place]["data"][kind] = text
    else:
        outputs[place]["data"][kind] = json.loads(text)


def differences(cell, outputs):
    """What ``outputs`` of a later run say otherwise than the stored ``cell``, in words."""
    stored, again = dict(texts(cell.outputs)), dict(texts(outputs))
    if stored.keys() != again.keys():
        return [f"outputs {sorted(stored)} became {sorted(again)}"]
    notes = [REST * len(NUMBER.findall(text)) for text in stored.values()]
    if TOLERANCES in cell.metadata:
        notes = cell.metadata[TOLERANCES].split(" ")
    found = []
    for (where, text), note in zip(stored.items(), notes, strict=True):
        pairs = zip(words(text), words(again[where]), strict=False)
        if words(text) != words(again[where]):
            was, now = next((pair for pair in pairs if pair[0] != pair[1]), (text, again[where]))
            found.append(f"{where[1]}: the words {was!r} became {now!r}")
            continue
        numbers = zip(NUMBER.findall(text), NUMBER.findall(again[where]), note, strict=False)
        for was, now, name in numbers:
            if not agree(was, now, name):
                units = SCALE.get(name, 0 if Number(was).is_whole else 1)
                off = f"which is off by more than {units} of its last digit"
                found.append(f"{where[1]}: {was} became {now}, {off}")
    return found


def agree(stored, again, tolerance):
    """Whether a number is within its ``tolerance``, a character of the scale, of what is stored."""
    stored, again = Number(stored), Number(again)
    units = SCALE.get(tolerance, 0 if stored.is_whole else 1)
    off = units * stored.unit * (1 + 1e-9)
    if stored.times and off > abs(stored.value) / 2:  # of several sizes: a ratio, or 0 would pass
        factor = 1 + off / abs(stored.value)
        return 1 / factor <= again.value / stored.value <= factor
    return abs(again.value - stored.value) <= off
