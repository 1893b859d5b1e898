"""The report in a browser, headless and without a network: it loads from the disk, its charts draw and obey."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -r requirements-test.txt")
from playwright.sync_api import Browser, BrowserContext, Page  # noqa: E402
from test_drawing import figure  # noqa: E402
from test_report import PAPER, QUICK, SHORT, write_noisy  # noqa: E402

from smith import cli
from smith.analysis.claims import CLAIMS
from smith.figures import report

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
DRAWN = "document.documentElement.dataset.drawn === String(document.querySelectorAll('[data-chart]').length)"

pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="needs Chromium: apt-get install chromium, or say where one is with CHROMIUM="
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A report of all experiments: quick results of a few, two scales and two seeds of one."""
    made = tmp_path_factory.mktemp("browser")
    for name in ("fig02", "fig07", "fig09", "table1"):
        write_noisy(made / "results" / "quick", *cli.experiments([name]), QUICK)
    write_noisy(made / "results" / "short", figure("fig09"), SHORT, seeds=2)
    write_noisy(made / "results" / "paper", figure("fig14"), PAPER, runs=figure("fig14").runs()[:3])
    docs = {name: sys.modules[module].__doc__ for name, module in cli.modules().items()}
    every = cli.experiments(["all"])
    sources = report.gather(every, CLAIMS, docs, "all", "seeds", made / "results", made / "figures")
    report.write(sources, report.decide(sources), made / "report")
    return made / "report"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, folder: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page of the report, its charts drawn; fails at any error in it, and at whatever it asks a network for."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_page(name: str, width: int = 1200, height: int = 900, **options) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
        )
        page.goto((folder / name).as_uri())
        if page.query_selector("[data-chart]"):
            page.wait_for_function(DRAWN)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def pages(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.html"))


def visible(page: Page, chart: str, curve: int, layer: str) -> list[bool]:
    """Returns whether the traces of a curve and a layer are shown, as Plotly has them."""
    code = """([chart, curve, layer]) => document.querySelector(`#${chart} .plot`).data
        .filter((trace) => trace.meta.curve === curve && trace.meta.layer === layer).map((trace) => trace.visible)"""
    return page.evaluate(code, [chart, curve, layer])


def colour(page: Page, selector: str, name: str = "color") -> str:
    return page.evaluate(
        "([s, name]) => getComputedStyle(document.querySelector(s)).getPropertyValue(name)", [selector, name]
    )


def test_every_page_loads_from_the_disk_without_an_error_and_fits_a_phone(visit, folder):
    page = visit("index.html", width=360, height=740)
    for name in pages(folder):
        page.goto((folder / name).as_uri())
        if page.query_selector("[data-chart]"):
            page.wait_for_function(DRAWN)
            assert page.locator("[data-chart] svg.main-svg").count() >= page.locator("[data-chart]").count()
        assert page.title() and page.locator("h1").count() == 1, name
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_every_link_leads_to_a_page_and_a_place(visit, folder):
    page = visit("index.html", java_script_enabled=False)
    places: dict[str, set[str]] = {}
    links: set[tuple[str, str]] = set()
    for name in pages(folder):
        page.goto((folder / name).as_uri())
        places[name] = set(page.eval_on_selector_all("[id]", "all => all.map((one) => one.id)"))
        links |= {(name, link) for link in page.eval_on_selector_all("a[href]", "all => all.map((one) => one.href)")}
    assert len(links) > 100
    for name, link in links:
        address, _, anchor = link.partition("#")
        assert address.startswith(folder.as_uri() + "/"), (name, link)
        target = address.removeprefix(folder.as_uri() + "/")
        assert (folder / target).is_file(), (name, link)
        assert not anchor or anchor in places[target], (name, link)


def test_a_curve_is_switched_by_mouse_and_by_keyboard(visit):
    page = visit("fig09.html")
    chart = "chart-short-a"
    box = page.locator(f"#{chart} input[data-curve='1']")
    assert visible(page, chart, 1, "ours") == [True] and visible(page, chart, 1, "seeds") == [True, True]
    box.click()
    for layer in ("ours", "seeds", "band", "published"):
        assert not any(visible(page, chart, 1, layer)), layer
    assert visible(page, chart, 0, "ours") == [True]
    box.focus()
    page.keyboard.press("Space")
    assert visible(page, chart, 1, "ours") == [True] and visible(page, chart, 1, "published") == [True]


def test_published_curves_and_seeds_are_switched_for_all_curves(visit):
    page = visit("fig09.html")
    page.locator("#chart-short-a input[data-layer='published']").uncheck()
    page.locator("#chart-short-a input[data-layer='seeds']").uncheck()
    for curve in range(4):
        assert visible(page, "chart-short-a", curve, "published") == [False]
        assert visible(page, "chart-short-a", curve, "seeds") == [False, False]
        assert visible(page, "chart-short-a", curve, "ours") == [True]


def test_the_keyboard_reaches_skip_link_and_all_controls(visit):
    page = visit("fig09.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    wanted = page.locator("main input, main button, main summary, main a, main .scroll").count()
    reached = set()
    for number in range(3 * wanted):
        page.keyboard.press("Tab")
        if not page.evaluate("document.querySelector('main').contains(document.activeElement)"):
            break
        page.evaluate(f"document.activeElement.dataset.reached ??= '{number}'")
        reached.add(page.evaluate("document.activeElement.dataset.reached"))
    closed = page.locator("details:not([open]) .scroll").count()
    assert len(reached) == wanted - closed
    outline = page.evaluate(
        "() => { const b = document.querySelector('[data-zoom]'); b.focus({focusVisible: true});"
        " return getComputedStyle(b).outlineStyle; }"
    )
    assert outline == "solid"


def test_zooming_and_back(visit):
    page = visit("fig09.html")
    plot = "document.querySelector('#chart-short-a .plot')._fullLayout"
    before = page.evaluate(f"{plot}.xaxis.range")
    page.locator("#chart-short-a [data-zoom='0.6']").click()
    inside = page.evaluate(f"{plot}.xaxis.range")
    assert before[0] < inside[0] < inside[1] < before[1]
    page.locator("#chart-short-a input[data-curve='1']").click()
    assert page.evaluate(f"{plot}.xaxis.range") == inside
    page.locator("#chart-short-a [data-zoom='reset']").click()
    assert page.evaluate(f"{plot}.xaxis.range") == pytest.approx(before)


def test_the_hover_says_iteration_rate_momentum_and_seed(visit):
    page = visit("fig09.html")
    page.evaluate(
        """() => { const plot = document.querySelector('#chart-quick-a .plot');
        const number = plot.data.findIndex((trace) => trace.meta.layer === 'ours');
        Plotly.Fx.hover(plot, [{curveNumber: number, pointNumber: 3}]); }"""
    )
    text = page.locator("#chart-quick-a .hoverlayer").text_content() or ""
    for part in ("WD=1e-3, seed 0", "test loss", "nats", "iteration", "learning rate", "momentum", "weight decay"):
        assert part in text, text
    assert "%{" not in text


def test_charts_follow_the_scheme_of_the_system(visit):
    page = visit("fig09.html", color_scheme="light")
    code = "document.querySelector('#chart-short-a .plot').data.find((trace) => trace.meta.layer === 'ours').line.color"
    light, ground = page.evaluate(code), colour(page, "html", "background-color")
    tick = colour(page, "#chart-short-a .xtick text", "fill")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{code} !== '{light}'")
    assert colour(page, "html", "background-color") != ground
    assert colour(page, "#chart-short-a .xtick text", "fill") != tick


def test_on_paper_there_is_no_dark_ground_and_charts_fit(visit):
    page = visit("fig09.html", width=1400, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    plot = "document.querySelector('#chart-short-a .plot')"
    page.wait_for_function(f"{plot}._fullLayout.width <= 700")
    assert colour(page, "html", "background-color") == "rgb(255, 255, 255)"
    assert page.evaluate(f"{plot}._fullLayout.font.color") == "#1b1f23"
    assert not page.locator("header nav").is_visible() and not page.locator(".tools").first.is_visible()
    assert len(page.pdf()) > 20_000
    page.emulate_media(media="screen", color_scheme="dark")
    page.wait_for_function(f"{plot}._fullLayout.width > 700")


def test_verdicts_are_words_and_symbols(visit):
    page = visit("index.html")
    shown = page.locator(".claims .verdict").all_text_contents()
    assert len(shown) == len(CLAIMS) and all(text.strip() == "○ inconclusive" for text in shown)
