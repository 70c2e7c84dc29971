"""A headless Chromium for what needs the built pages as a reader meets them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
MISSING = "Chromium is not installed (on Debian: apt-get install chromium)"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def found() -> str | None:
    """Where Chromium or Chrome is; None without."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        # A busy machine takes its time.
        browser = playwright.chromium.launch(
            executable_path=found(), args=ARGUMENTS, timeout=180_000
        )
        yield browser
        browser.close()


def pages() -> list[str]:
    """The pages of the book in their order, by their paths without suffix."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    listed = [page["file"] for part in contents["parts"] for page in part["chapters"]]
    return [contents["root"], *listed]
