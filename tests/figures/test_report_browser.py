"""The report in a browser, headless and without a network: it loads from the disk, its charts draw and obey."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from smith.figures import report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -r requirements-test.txt")
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync".split()
DRAWN = "document.documentElement.dataset.drawn === String(document.querySelectorAll('.chart').length)"
PLOT = "document.querySelector('#mini-a .plot')"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium, or say where with CHROMIUM="),
]


@pytest.fixture
def visit(shelf, experiment) -> Iterator[Callable]:
    """Writes a report and opens pages of it; fails at any error in them, and at whatever they ask a network for."""
    for name in ("fig02", "fig09", "table1"):
        shelf.fill(experiment(name), "mini", seeds=2)
    shown = [experiment(name) for name in ("fig02", "fig03", "fig09", "table1")]
    report.write(shown, {}, {}, [shelf.store("paper"), shelf.store("mini")], [shelf.figures], shelf.root / "report")
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)

        def open_page(name: str, width: int = 1200, **options):
            page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
            page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url))
            page.goto((shelf.root / "report" / name).as_uri())
            if options.get("java_script_enabled", True) and page.query_selector(".chart"):
                page.wait_for_function(DRAWN)
            return page

        yield open_page
        browser.close()
    assert not wrong


def test_pages_load_from_the_disk_and_fit_a_phone(visit, shelf):
    for path in sorted((shelf.root / "report").glob("*.html")):
        page = visit(path.name, width=390)
        assert page.title() and page.evaluate("document.documentElement.scrollWidth") <= 390, path.name
        assert page.locator(".chart svg.main-svg").count() >= page.locator(".chart").count()


def test_without_javascript_and_on_paper_there_is_the_picture(visit):
    page = visit("fig09.html", java_script_enabled=False)
    assert page.locator(".still").is_visible() and not page.locator(".charts").is_visible()
    page = visit("fig09.html")
    assert not page.locator(".still").is_visible() and page.locator(".charts").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".still").is_visible() and not page.locator("nav").first.is_visible()


def test_seeds_and_published_curves_can_be_switched_off(visit):
    page = visit("fig09.html")
    shown = f"{PLOT}.data.filter((t) => t.visible).map((t) => t.meta.layer)"
    assert set(page.evaluate(shown)) == {"published", "seed", "mean"}
    page.locator("#mini-a input[data-layer='published']").uncheck()
    page.locator("#mini-a input[data-layer='seed']").uncheck()
    assert set(page.evaluate(shown)) == {"mean"} and len(page.evaluate(shown)) == 4


def test_charts_follow_the_colours_of_the_system(visit):
    page = visit("fig09.html", color_scheme="light")
    light = page.evaluate(f"{PLOT}._fullLayout.font.color")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{PLOT}._fullLayout.font.color !== '{light}'")


def test_the_hover_says_curve_seeds_place_and_value(visit):
    page = visit("fig09.html")
    number = page.evaluate(f"{PLOT}.data.findIndex((trace) => trace.meta.layer === 'mean')")
    page.evaluate(f"Plotly.Fx.hover({PLOT}, [{{curveNumber: {number}, pointNumber: 3}}])")
    text = page.locator("#mini-a .hoverlayer").text_content()
    assert all(part in text for part in ("WD=1e-3", "mean of 2 seeds", "nats", "Iteration")) and "%{" not in text
