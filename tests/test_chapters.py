"""The chapters: code in them runs, numbers in them come from lessons, and all of those are used."""

import re
from pathlib import Path

import pytest
import torch

from tools.lessons import lessons

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").rglob("*.md"))
CODE = re.compile(r"^```(?:python|\{code-block\} python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name_of(page):
    return page.relative_to(ROOT / "book").with_suffix("").as_posix()


@pytest.mark.parametrize("page", [p for p in PAGES if CODE.search(p.read_text())], ids=name_of)
def test_code_of_a_chapter_runs_from_top_to_bottom(page, capsys):
    names = {"__name__": "chapter"}
    with torch.random.fork_rng(devices=[]):
        for block in CODE.findall(page.read_text("utf-8")):
            exec(compile(block, name_of(page), "exec"), names)


def test_every_number_of_a_lesson_is_quoted_in_the_book(extension):
    given = {n for path in lessons() for n in extension.glued(path, path.stat().st_mtime_ns)}
    quoted = {n for page in PAGES for n in re.findall(r"\{n\}`([^`]+)`", page.read_text("utf-8"))}
    assert given
    assert not sorted(given - quoted)
