"""Chromium through Playwright, for tests of pages; those that import this are skipped where Playwright is missing.

As root in a container Chromium needs --no-sandbox, which EQUIPOISE_CHROMIUM_FLAGS hands to it.
"""

import contextlib
import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra: browser)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 120_000  # ms; that a machine with other work is slow is no fault of a page
needed = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@contextlib.contextmanager
def launched():
    with playwright.sync_playwright() as started:
        flags = os.environ.get("EQUIPOISE_CHROMIUM_FLAGS", "").split()
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()
