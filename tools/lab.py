"""Drive a lesson in JupyterLab as a reader does: python -m tools.lab [LESSON]

starts JupyterLab in an empty folder with the lesson, opens it in Chromium, runs all cells, and
drags every slider: those of figures and those that a kernel answers. Exits with an error if a cell
fails or a slider changes nothing.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import nbformat

from tools import lessons as tool
from tools.browser import MISSING, chromium, found

LESSON = "causes/weight_scale"  # the quickest that has sliders of both kinds
SECONDS = 600  # in which a lesson must be through, also on a busy machine
# Whether all cells ran: none waits, and the last one has a number.
DONE = """() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
  const said = prompts.map(each => each.textContent.trim())
  return said.length > 0 && !said.includes('[*]:') && /\\d/.test(said.at(-1))
}"""


def free_port():
    """A port that nobody listens to."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def wait_for(address):
    """Wait until a server answers."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return urllib.request.urlopen(address).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def drag(page, handle):
    """Drag a slider by its handle, or by the middle of its track, to the right."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y, steps=6)
    page.mouse.up()


def use(page):
    """Run all cells of the open lesson and drag its sliders; returns what it saw, by kind."""
    choose = page.get_by_role("button", name="Select", exact=True)
    page.add_locator_handler(choose, lambda button: button.click())  # JupyterLab asks for a kernel
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(DONE)
    errors = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']")
    seen = {"errors": errors.filter(has_text="Traceback").count()}
    figures = page.locator("input[type=range]")
    for i in range(figures.count()):
        figure = figures.nth(i)
        sentence = "each => each.getRootNode().querySelector('p').textContent"
        before = figure.evaluate(sentence)
        drag(page, figure)
        seen["figures"] = seen.get("figures", 0) + (figure.evaluate(sentence) != before)
    handles = page.locator(".jupyter-widgets .noUi-handle")
    for i in range(handles.count()):
        handle = handles.nth(i)
        output = handle.locator("xpath=ancestor::*[contains(@class, 'jp-Cell')][1]")
        before = output.inner_text(), output.locator("img").count()
        drag(page, handle)
        page.wait_for_timeout(5000)
        after = output.inner_text(), output.locator("img").count()
        seen["widgets"] = seen.get("widgets", 0) + (after != before)
    seen["sliders"] = figures.count() + handles.count()
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default=LESSON, metavar="LESSON")
    (lesson,) = tool.chosen([parser.parse_args().name])
    if found() is None:
        sys.exit(MISSING)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        notebook = nbformat.read(lesson, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":  # or what is stored would pass for what has run
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, os.path.join(folder, lesson.name))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--IdentityProvider.token=", f"--port={port}", f"--notebook-dir={folder}"]
        with open(os.path.join(folder, "server.log"), "w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            wait_for(f"http://127.0.0.1:{port}/lab")
            with chromium() as browser:
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.set_default_timeout(1000 * SECONDS)
                page.goto(f"http://127.0.0.1:{port}/lab/tree/{lesson.name}")
                page.locator(".jp-CodeCell").first.wait_for()
                seen = use(page)
        finally:
            server.terminate()
            server.wait()
    print(tool.name_of(lesson), seen)
    moved = seen.get("figures", 0) + seen.get("widgets", 0)
    sys.exit(bool(seen["errors"]) or not moved or moved < seen["sliders"])


if __name__ == "__main__":
    main()
