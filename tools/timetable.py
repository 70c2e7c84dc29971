"""What chapters and lessons say of themselves at their top: minutes, what they need and teach.

    python -m tools.timetable

prints the minutes of every page in the order of the contents.
"""

import json
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
UNITS = "three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
WORDS = {word: number for number, word in enumerate(UNITS, 3)}
WORDS |= {f"twenty-{word}": 20 + number for number, word in enumerate(UNITS[:7], 3)}
WORDS |= {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
HOURS = {"an hour": 60, "half an hour": 30, "a quarter of an hour": 15}
COUNT = "|".join(sorted(WORDS, key=len, reverse=True))
TIME = rf"({'|'.join(HOURS)}|(?:{COUNT})(?= minutes| for all))(?: minutes)?"
ESSENTIAL = re.compile(rf"{TIME} for the essentials, {TIME} for all\b", re.IGNORECASE)
WHOLE = re.compile(rf"(?<![\w-]){TIME}\b", re.IGNORECASE)
LABEL = r"\*\*(?:Before you start|You need|Afterwards|Time)[.:]?\*\*[.:]?"


@dataclass(frozen=True)
class Minutes:
    """How long a page takes to read, and its essential part where it has one."""

    whole: int
    essential: int | None = None


def number(words):
    """A count of minutes in words as a number."""
    words = words.lower()
    return HOURS.get(words) or WORDS[words]


def minutes(markdown):
    """The minutes that a page's first lines promise; refuses one that promises none."""
    for paragraph in re.split(r"\n\s*\n", markdown):
        if not re.search(LABEL, paragraph):
            continue
        if found := ESSENTIAL.search(paragraph):
            return Minutes(number(found[2]), number(found[1]))
        if found := WHOLE.search(paragraph):
            return Minutes(number(found[1]))
    raise ValueError(
        "no minutes found: in the paragraph that begins with **Before you start.** say how long it "
        "takes, such as “Twelve minutes” or “Five minutes for the essentials, half an hour for all”"
    )


def lead(markdown):
    """What a lesson promises and asks for: the texts behind **Afterwards** and **You need**."""
    said = {}
    for paragraph in re.split(r"\n\s*\n", markdown):
        parts = re.split(rf"({LABEL})", paragraph)
        for label, text in zip(parts[1::2], parts[2::2], strict=True):
            said[label.strip("*.: ")] = text.strip()
    needs = said.get("You need", said.get("Before you start"))
    if not needs or "Afterwards" not in said:
        raise ValueError("a lesson's first lines want **Afterwards** and **You need**")
    return said["Afterwards"], needs


def absolute(markdown, folder):
    """Markdown of a page in ``folder`` with its links to other pages made those from the root."""

    def rooted(link):
        return f"](/{posixpath.normpath(posixpath.join(folder, link[1]))}{link[2]}"

    return re.sub(r"\]\(([\w./]+\.(?:md|ipynb))([#)])", rooted, markdown)


def text_of(page, root=ROOT):
    """The Markdown of a page of the contents, such as book/index or lessons/causes/depth."""
    path = Path(root, f"{page}.md")
    if path.is_file():
        return path.read_text("utf-8")
    cells = json.loads(path.with_suffix(".ipynb").read_text("utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def contents(root=ROOT):
    """The pages of the contents by their part, in order: part → pages."""
    toc = yaml.safe_load(Path(root, "_toc.yml").read_text("utf-8"))
    return {part["caption"]: [c["file"] for c in part["chapters"]] for part in toc["parts"]}


def main():
    for part, pages in contents().items():
        print(part)
        for page in pages:
            try:
                found = minutes(text_of(page))
            except (ValueError, FileNotFoundError):
                continue  # a page that nobody is asked to read through
            essential = f", the essentials {found.essential}" if found.essential else ""
            print(f"  {found.whole:3} min  {page}{essential}")


if __name__ == "__main__":
    main()
