"""The user interface in a real browser, from an empty graph to a submission's lineage."""

import shutil
import time
from pathlib import Path

import pytest

from orchestration.workspace import ROOT
from tests.orchestration.opened_ui import OpenedUI
from tests.orchestration.tiny_world import write_tiny_params

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium found; on Debian: apt-get install chromium"
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
SCREENSHOTS = ROOT / "build" / "screenshots"
GRAPH = "/asset-groups~%2Bkey%3A%22submission%22"
EXPANDED = "?expanded=" + "%2C".join(
    f"global%40global%3A{group}" for group in ("dataset", "items", "models", "recommendations")
)
GREEN = '[class*="minimalAssetNodeBox"][style*="background-green"]'
NUM_ASSETS, MADE_SECONDS = 12, 600


@pytest.fixture
def opened(tmp_path):
    params = write_tiny_params(tmp_path / "params.yaml")
    where = ("--params", params, "--data", tmp_path / "data")
    opened = OpenedUI(ROOT, *where, log=tmp_path / "ui.log")
    yield opened
    opened.close()


@pytest.fixture
def page(opened, tmp_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1500, "height": 1000},
            device_scale_factor=1.4,
            base_url=opened.address,
        )
        browser.set_default_timeout(60_000)
        yield browser.new_page()
        browser.close()


@pytest.mark.long
def test_everything_is_made_from_the_graph_and_shown(page: Page, capsys):
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    page.goto(GRAPH + EXPANDED)
    _materialize_all(page)
    _watch_it_turn_green(page)
    _open_a_plot(page)
    _open_the_lineage(page)
    with capsys.disabled():
        print(f"\nscreenshots: {SCREENSHOTS}")


def _materialize_all(page):
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("button", name="All", exact=True).click()
    _take(page, "partitions")
    page.get_by_role("button", name="Launch backfill").click()


def _watch_it_turn_green(page):
    green, end = page.locator(GREEN), time.monotonic() + MADE_SECONDS
    while green.count() < NUM_ASSETS:
        assert time.monotonic() < end, _take(page, "not_green")
        assert page.locator('[style*="background-red"]').count() == 0, _take(page, "failed")
        if green.count() > 0:
            _take(page, "under_way")
        page.wait_for_timeout(1000)
    page.get_by_role("button", name="Hide navigation").click()
    page.get_by_placeholder("Jump to").locator("xpath=following::button[1]").click()
    page.mouse.dblclick(300, 700)  # on the empty canvas: fit the graph into it
    page.wait_for_timeout(1000)
    _take(page, "asset_graph")


def _open_a_plot(page):
    page.goto("/assets/encoder_checkpoint")
    page.get_by_role("row").filter(has_text="curves plot").get_by_text("Show Markdown").click()
    plot = page.get_by_alt_text("curves")
    plot.wait_for()
    assert plot.evaluate("image => image.naturalWidth") > 0
    _take(page, "plot")


def _open_the_lineage(page):
    page.goto("/assets/submission")
    with page.expect_popup() as opening:
        page.get_by_role("link", name="lineage.html").first.click()
    lineage = opening.value
    lineage.locator("svg").first.wait_for()
    assert lineage.title().startswith("Submission")
    assert lineage.locator("img").count() > 0
    _take(lineage, "lineage")


def _take(page: Page, name: str) -> Path:
    file = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=file)
    return file
