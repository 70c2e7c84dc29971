"""The essentials: the pages of the short track in their order, and how many words each takes.

    python -m tools.essentials

prints the words of each essential part, outside code, formulas, lessons' figures and folds, and
how long it takes. A part ends where the directive ``essentials`` stands; without it, it is the
page.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRACK = (
    "index",
    "causes/depth",
    "causes/activations",
    "remedies/choose_activation",
    "remedies/choose_init",
    "detection/watching",
    "remedies/normalization",
    "remedies/skip_connections",
    "remedies/gates",
    "detection/diagnose",
)
PACE = 80  # words a minute: what newcomers took who stopped, guessed and moved the sliders
END = re.compile(r"^(`{3,}|:{3,})\{essentials\}", re.MULTILINE)
FENCE = re.compile(r"^(`{3,}|:{3,})(?:\{([\w-]+)\})?(.*)$")
READ = {"drawing", "admonition", "note", "tip", "warning", "important"}  # what is in them is read


def following(page):
    """The essential page after ``page``, both as paths below book/; None after the last."""
    return dict(zip(TRACK, [*TRACK[1:], None], strict=True))[page]


def essential(markdown):
    """The essential part of a page."""
    end = END.search(markdown)
    return markdown[: end.start()] if end else markdown


def visible(markdown):
    """The lines of a page that are read: no front matter, code, options, folds."""
    markdown = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
    markdown = re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL)
    markdown = re.sub(r"^\$\$.*?\$\$.*?$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    fences = []  # (its marker, whether what it holds is read)
    for line in markdown.splitlines():
        found = FENCE.match(line)
        if fences and found and line.strip() == found[1] and line.startswith(fences[-1][0]):
            fences.pop()
        elif found and (not fences or found[2]):
            fences.append((found[1], found[2] in READ))
            if found[2] in {"admonition"} and all(read for _, read in fences):
                yield found[3]
        elif all(read for _, read in fences) and not re.match(r":[\w-]+:|\([\w-]+\)=$", line):
            yield line


def words(markdown):
    """How many words of a page are read; a formula in a line, or a number by name, is one."""
    text = "\n".join(visible(markdown))
    text = re.sub(r"\$[^$]+\$", "x", text)
    text = re.sub(r"\{[\w:-]+\}`[^`]*`", "x", text)
    text = re.sub(r"\]\([^)]*\)", "", text)
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def main():
    total = 0
    for page in TRACK:
        markdown = (ROOT / "book" / f"{page}.md").read_text("utf-8")
        count = words(essential(markdown))
        total += count
        mark = "" if END.search(markdown) else "  (whole page)"
        print(f"{count:6,}  {round(count / PACE):3} min  {page}{mark}")
    print(f"{total:6,}  {round(total / PACE):3} min  in all")


if __name__ == "__main__":
    main()
