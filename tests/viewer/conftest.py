"""One browser and one tab for all pages; where there is none, what needs it is skipped."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def one_tab(browser):
    tab = browser.new_page()
    tab.heard = []
    tab.on("request", lambda request: tab.heard.append(request.url))
    tab.on("pageerror", lambda error: tab.heard.append(str(error)))
    tab.on("console", lambda message: tab.heard.append(message.text))
    tab.set_default_timeout(30_000)
    return tab


@pytest.fixture
def tab(one_tab):
    """A tab that makes the test fail if a page requests anything or complains."""
    one_tab.heard.clear()
    resize(one_tab)
    yield one_tab
    ours = ("file://", "data:", "blob:", "about:")
    assert [heard for heard in one_tab.heard if not heard.startswith(ours)] == []


def resize(tab, width=1024, scheme="light"):
    """Look at the page on another screen, without transitions, whose colours are between two schemes."""
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")


def until(tab, expression):
    """Wait for something to be true; the page's policy forbids Playwright's own way, which is to evaluate text."""
    for _ in range(3000):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(10)
    pytest.fail(f"never came true: {expression}")


def violations(tab, **options):
    """What axe-core says that keeps people out, by its rules' names."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab, options={"resultTypes": ["violations"], **options}).response["violations"]
    return {one["id"] for one in found if one["impact"] in ("serious", "critical")}
