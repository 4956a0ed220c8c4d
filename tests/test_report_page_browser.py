"""The page in a real browser: Chromium through Playwright, where both are installed."""

import contextlib
import json
import shutil
import threading

import pytest

import chromium
from equipoise.report import page
from equipoise.report.page_serve import Server
from planted_runs import EVIL, move, plant

expect = chromium.playwright.expect
pytestmark = chromium.needed


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as started:
        yield started


@contextlib.contextmanager
def opened(browser, url, **options):
    """A page, its complaints on the console, and the addresses that it asked for besides its own."""
    context = browser.new_context(**options)
    tab, complaints, asked = context.new_page(), [], []
    tab.set_default_timeout(chromium.PATIENCE)
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(url)
    yield tab, complaints, asked
    context.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file of a run with moves, findings and text that would do harm as HTML."""
    folder = plant(
        tmp_path_factory.mktemp("browser") / "run",
        events=[move(3.0), move(9.0, why=f"</script>{EVIL}")],
        config={"source": EVIL},
    )
    return page.write([folder], closer=False)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1400, "light")])
def test_the_page_opens_from_the_disk_without_an_error_or_a_request(browser, written, scheme, width):
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme, "offline": True}
    with opened(browser, written.as_uri(), **options) as (tab, complaints, asked):
        assert tab.locator(".headline").first.is_visible()
        assert "The two are in balance" in tab.locator(".headline").first.inner_text()
        assert tab.locator(".headline").first.bounding_box()["y"] < 400  # seen first
        assert tab.locator(".chart canvas").count() == tab.locator(".chart").count() == 4
        assert tab.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
        dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 25)"
        assert dark == (scheme == "dark")
        assert complaints == []
        assert [url for url in asked if not url.startswith("data:")] == [written.as_uri()]


def test_the_slider_moves_through_the_samples(browser, written):
    with opened(browser, written.as_uri()) as (tab, _, _):
        shown = tab.locator(".fakes img:visible")
        assert shown.count() == 1 and shown.get_attribute("data-kimg") == "2"
        tab.locator("input[type=range]").focus()
        tab.keyboard.press("ArrowLeft")
        assert shown.count() == 1 and shown.get_attribute("data-kimg") == "1"
        assert tab.locator(".fakes output").inner_text() == "1 kimg"
        tab.keyboard.press("Home")
        assert shown.get_attribute("data-kimg") == "0"


def test_pointing_at_a_chart_reads_all_of_them_and_tells_the_moves(browser, written):
    with opened(browser, written.as_uri(), viewport={"width": 1400, "height": 900}) as (tab, _, _):
        first, other = tab.locator(".chart").nth(0), tab.locator(".chart").nth(1)
        first.scroll_into_view_if_needed()
        area = first.locator(".u-over").bounding_box()
        assert other.locator("output").first.inner_text() == "0.025"  # the last reading: 0.3 / 12
        tab.mouse.move(area["x"] + area["width"] * 3 / 12, area["y"] + 40)  # 3 of 12 kimg
        expect(other.locator("output").first).to_have_text("0.1")  # 0.3 / 3
        expect(tab.locator("#tip")).to_have_text("3 kimg: D.lr 0.001 -> 0.0005, since gap is 3 and 2 is aimed at")
        tab.mouse.move(5, 5)
        expect(tab.locator("#tip")).to_be_hidden()
        name = first.locator(".keyed").first
        name.hover()
        assert "D's loss over its ideal value" in name.locator(".hint").inner_text()


def test_a_finger_reads_as_a_mouse_does(browser, written):
    with opened(browser, written.as_uri(), viewport={"width": 360, "height": 700}, has_touch=True) as (tab, _, _):
        first = tab.locator(".chart").first
        first.evaluate("chart => chart.scrollIntoView({ block: 'center' })")
        area = first.locator(".u-over").bounding_box()
        tab.touchscreen.tap(area["x"] + area["width"] * 3 / 12, area["y"] + 40)
        expect(tab.locator("#tip")).to_contain_text("3 kimg: D.lr 0.001 -> 0.0005")


def test_a_finding_unfolds_to_its_evidence(browser, written):
    with opened(browser, written.as_uri()) as (tab, _, _):
        evidence = tab.locator(".finding .evidence").first
        assert evidence.is_hidden()
        tab.locator(".finding summary").first.click()
        assert evidence.is_visible() and "energy" in evidence.inner_text()


def test_the_page_follows_a_run_and_says_when_it_cannot(browser, tmp_path):
    folder = plant(tmp_path / "run", total=50)
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with opened(browser, server.url) as (tab, complaints, asked):
            tab.locator(".finding summary").first.click()
            tab.locator("input[type=range]").focus()
            tab.keyboard.press("Home")
            stamp = tab.locator("#verdict").get_attribute("data-stamp")
            read = {"loss_D": 7.5, "energy": 0.001, "diversity": 0.99}  # the evidence of what was unfolded changes
            line = {"event": "tick", "kimg": 13.5, "total_kimg": 50.0, "balance": read, "dials": {}}
            with (folder / "run.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            shutil.copy(folder / "samples" / "fakes-000000.png", folder / "samples" / "fakes-000013.png")
            tab.locator(".facts", has_text="13.5 of 50 kimg").wait_for()
            tab.locator(".slider", has_text="13").wait_for()
            expect(tab.locator(".chart output").first).to_have_text("7.5")
            assert tab.locator(".fakes img:visible").get_attribute("data-kimg") == "0"  # the slider keeps its moment
            assert tab.locator("#verdict").get_attribute("data-stamp") != stamp
            assert tab.locator("#verdict .finding[open]").count() == 1  # what was unfolded stays so
            assert complaints == []
            assert all(url.startswith((server.url, "data:")) for url in asked)
            server.shutdown()
            server.server_close()
            tab.locator("#live.lost").wait_for()
            assert "has ended" in tab.locator("#live").inner_text()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
