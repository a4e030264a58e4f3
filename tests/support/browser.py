"""A headless Chromium for tests of what a person looks at."""

import os
import shutil
from contextlib import contextmanager

import pytest
from tiny_study import PATIENCE_S

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def chromium():
    """A browser of playwright's (sync API), the machine's own; without one the test is skipped, but not in CI."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"no browser here: none of {', '.join(NAMES)} is on the path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser, folder, viewport=WIDE, **options):
    """A study's page in a browser, which must have no error and request nothing but the file."""
    address = (folder / "report.html").as_uri()
    context = browser.new_context(viewport=viewport, **options)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    if options.get("java_script_enabled", True):
        page.wait_for_function("document.documentElement.dataset.charts === 'drawn'")
    yield page
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == {address}
    context.close()
