"""Make a slide set of each essential page: python -m tools.slides

The slides are at _build/slides/index.html and need no network. Sphinx makes them of the chapters
themselves, with sphinx-revealjs, so that drawings, sliders, formulas and numbers are the book's.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tools import lessons as tool
from tools.essentials import TRACK

PAGES = [f"book/{page}" for page in TRACK[1:]]  # the first page is for the book
WORK = tool.ROOT / "_build" / "slides_source"
OUT = tool.ROOT / "_build" / "slides"
INDEX = """# Slides

Arrow keys go on and back, S shows the speaker's notes, Esc an overview.

{links}

Prose and figures: *Vanishing Gradients*, CC BY 4.0, <{address}>.
"""


def main():
    tool.SOURCE = WORK
    tool.stage(fresh=False)
    config = yaml.safe_load((WORK / "_config.yml").read_text("utf-8"))
    sphinx = config["sphinx"]
    sphinx["local_extensions"]["slides"] = "book/extensions"
    sphinx["extra_extensions"] += ["sphinx_revealjs"]
    sphinx["config"] |= {
        "revealjs_style_theme": "white",
        "revealjs_static_path": ["book/static"],
        "revealjs_css_files": ["course.css", "drawing.css", "slides.css"],
        "revealjs_script_conf": {"hash": True, "slideNumber": True, "width": 1100, "height": 780},
        "revealjs_script_plugins": [
            {"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"},
        ],
    }
    links = "\n".join(f"- [](/{page}.md)" for page in PAGES)
    index = INDEX.format(links=links, address=config["html"]["baseurl"])
    (WORK / "index.md").write_text(index, encoding="utf-8")
    chapters = [{"file": page} for page in [*PAGES, "book/references"]]
    toc = {"format": "jb-book", "root": "index", "chapters": chapters}
    for name, data in (("_config.yml", config), ("_toc.yml", toc)):
        (WORK / name).write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    # Pages that are no slides are no targets either: their links become plain text, with warnings.
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(WORK), "--quiet"]
    command += ["--path-output", str(WORK), "--builder", "custom", "--custom-builder", "revealjs"]
    done = subprocess.run(command, cwd=WORK, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.move(WORK / "_build" / "revealjs", OUT)
    print(f"The slides are at {OUT / 'index.html'}")


if __name__ == "__main__":
    main()
