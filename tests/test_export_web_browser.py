"""The page that runs a generator, in a real browser: Chromium through Playwright.

onnxruntime-web is looked for in node_modules, or where EQUIPOISE_ORT says; where it, the extra onnx, Playwright or
Chromium is missing, these tests are skipped.
"""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import chromium
from equipoise import images, samples
from equipoise.apps.export import onnx_model, runtime, torch_files, web
from equipoise.errors import InputError
from exported import subject

for package in onnx_model.NEEDED:
    pytest.importorskip(package, reason=f"{package} is not installed (extra: onnx)")
try:
    RUNTIME = runtime.find(Path(os.environ["EQUIPOISE_ORT"]) if "EQUIPOISE_ORT" in os.environ else None)
except InputError as missing:
    pytest.skip(str(missing), allow_module_level=True)
pytestmark = chromium.needed
PIXELS = "[...at('picture').getContext('2d').getImageData(0, 0, width, height).data]"


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as started:
        yield started


def written(folder, given):
    page = folder / "index.html"
    page.write_text(web.page(onnx_model.convert(torch_files.write(folder, given), given), given, RUNTIME))
    return page.as_uri()


@contextlib.contextmanager
def opened(browser, url):
    """A page that is ready, its complaints on the console, and the addresses that it asked for."""
    context = browser.new_context(offline=True)
    tab, complaints, asked = context.new_page(), [], []
    tab.set_default_timeout(chromium.PATIENCE)
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(url)
    tab.wait_for_selector("body[data-ready]")
    yield tab, complaints, asked
    context.close()


@pytest.fixture(scope="module")
def digits(browser, tmp_path_factory):
    """A conditional generator of grey images, and its page, which all tests share."""
    given = subject("mlp", (1, 8, 8), 3, {}, names=["zero", "one", "<two>"])
    url = written(tmp_path_factory.mktemp("digits"), given)
    with opened(browser, url) as (tab, complaints, asked):
        yield given, url, tab, complaints, asked


def until(tab, condition):
    """Wait in Python: the page's policy lets no text become code, Playwright's `wait_for_function` included."""
    for _ in range(1200):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"{condition} did not come true")


def shown(tab):
    """The picture as uint8 [H, W, 3]."""
    size = tab.evaluate("height")
    return np.array(tab.evaluate(PIXELS), dtype=np.uint8).reshape(size, size, 4)[:, :, :3]


def expected(given, seed, **options):
    """What `equipoise generate` gives for this seed, as uint8 [H, W, 3]."""
    made = images.to_uint8(samples.from_seeds(given.generator, [seed], **options)[0])[0].transpose(1, 2, 0)
    return np.broadcast_to(made, (*made.shape[:2], 3))


def assert_same(got, wanted):
    """Equal to a grey level, and no picture of one grey."""
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 1 and got.std() > 5


def enter(tab, name, value):
    tab.evaluate(
        "([name, value]) => { const one = document.querySelector(name); one.value = value;"
        " for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind)); }",
        [name, value],
    )
    until(tab, "!state.busy")


def begin(tab):
    """Everything back to where the page starts."""
    enter(tab, "#class", "-1")
    enter(tab, "#truncation", "1")
    tab.click("#reset")
    enter(tab, "#seed", "0")


def test_the_page_opens_from_the_disk_without_an_error_or_a_request(digits):
    given, url, tab, complaints, asked = digits
    assert_same(shown(tab), expected(given, 0))
    assert tab.locator("#status").is_hidden() and tab.locator("#walk").is_enabled()
    assert complaints == []
    assert [one for one in asked if not one.startswith(("data:", "blob:"))] == [url]


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_the_page_fits_phones_and_desktops_by_day_and_night(digits, width, scheme):
    tab = digits[2]
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 25)"
    assert dark == (scheme == "dark")
    below = tab.locator("#walk").bounding_box()["y"] > tab.locator("#picture").bounding_box()["y"] + 200
    assert below == (width < 760)  # the controls, below the picture or beside it


def test_a_seed_a_class_and_a_truncation_give_what_generate_gives(digits):
    given, _, tab, complaints, _ = digits
    begin(tab)
    enter(tab, "#seed", "123456789012")
    assert_same(shown(tab), expected(given, 123456789012))
    enter(tab, "#class", "2")
    assert tab.locator("#class option:checked").inner_text() == "<two>"
    assert_same(shown(tab), expected(given, 123456789012, label=2))
    enter(tab, "#truncation", "0.5")
    assert_same(shown(tab), expected(given, 123456789012, label=2, truncation=0.5))
    tab.click("#another")
    until(tab, "!state.busy && state.seed === 123456789013")
    assert_same(shown(tab), expected(given, 123456789013, label=2, truncation=0.5))
    assert complaints == []


def test_a_slider_moves_the_latents_along_its_direction(digits):
    given, _, tab, _, _ = digits
    begin(tab)
    before = shown(tab)
    enter(tab, "[data-direction='1']", "2.5")
    direction = torch.tensor(tab.evaluate("spec.directions[1]"))
    source = torch.Generator().manual_seed(0)
    latents = torch.randn(6, generator=source) + 2.5 * direction
    label = torch.randint(3, (1,), generator=source)
    moved = images.to_uint8(given.generator(latents[None], label).detach())[0].transpose(1, 2, 0)
    assert_same(shown(tab), np.broadcast_to(moved, (8, 8, 3)))
    assert np.abs(shown(tab).astype(int) - before).max() > 10
    tab.click("#reset")
    until(tab, "!state.busy")
    assert_same(shown(tab), before)


def test_a_walk_goes_on_until_it_is_paused(digits):
    _, _, tab, complaints, _ = digits
    begin(tab)
    enter(tab, "#pace", "0.3")
    tab.click("#walk")
    until(tab, "state.seed >= 2")  # past two stops
    assert "frames/s" in tab.locator("#speed").inner_text()
    assert tab.locator("#walk").inner_text() == "Pause"
    tab.click("#walk")
    until(tab, "!state.busy")
    still = shown(tab)
    tab.wait_for_timeout(300)
    assert np.array_equal(shown(tab), still)
    assert complaints == []


def test_colours_and_longer_latents_are_right_too(browser, tmp_path):
    given = subject("normfree", (3, 16, 16), 0, {}, latent_dim=20)
    with opened(browser, written(tmp_path, given)) as (tab, complaints, _):
        assert_same(shown(tab), expected(given, 0))
        enter(tab, "#seed", "41")
        assert_same(shown(tab), expected(given, 41))
        assert tab.locator("#class").count() == 0 and complaints == []
