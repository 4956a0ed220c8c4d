"""Run the examples of questions.md, write what they say into the pages, and take their pictures.

python docs/questions.py FOLDER              all of them, in FOLDER; a run that is there already is not run again
python docs/questions.py FOLDER zero nan     these

An example stands between `<!-- example: NAME -->` and `<!-- end -->`: a block of commands (`sh`, or `python`) and
a block `text` with what they said. Its run is runs/NAME, its picture images/questions/NAME.png: a part of the run's
report in Chromium, by Playwright. A command with Ctrl-C in its comment is interrupted once it is under way.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from equipoise.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "docs" / "questions.md", ROOT / "docs" / "questions.zh-CN.md")
IMAGES = ROOT / "docs" / "images" / "questions"
EXAMPLE = re.compile(
    r"(<!-- example: (\S+) -->\n```(sh|python)\n(.*?)```\n\n```text\n)(.*?)(```\n<!-- end -->)", re.DOTALL
)
SEVERITIES = ("good: ", "note: ", "warning: ", "alarm: ")
SILENT = ("train", "resume")  # of these only errors are shown
CHARTS = {  # beside the losses and the distance from the data
    "few": ("Memorising", "Nearest training sample"),
    "nan": ("Gradients", "Values that were not finite"),
    "alike": ("Diversity and churn", "Fidelity and coverage"),
    "zero": ("Gradients", "Diversity and churn"),
}


class Example(NamedTuple):
    """What a page says of an example."""

    name: str
    language: str  # sh or python
    code: str
    said: str

    def commands(self) -> list[tuple[list[str], bool]]:
        """The words of each command, and whether it is to be interrupted."""
        lines = [line for line in self.code.splitlines() if line.strip()]
        return [(shlex.split(line, comments=True), "Ctrl-C" in line) for line in lines]


def examples(page: Path) -> list[Example]:
    """The examples of a page."""
    return [Example(m[2], m[3], m[4], m[5]) for m in EXAMPLE.finditer(page.read_text(encoding="utf-8"))]


def told(output: str) -> str:
    """The findings in what `diagnose` says, or everything where there are none."""
    parts = output.strip().split("\n\n")
    found = [part for part in parts if part.startswith(SEVERITIES)]
    return "\n\n".join(found or parts) + "\n"


def play(example: Example, folder: Path) -> str:
    """Run an example in a folder and return what it says."""
    if example.language == "python":
        done = _call([sys.executable, "-c", example.code], folder)
        return done.stdout
    said = []
    for words, interrupted in example.commands():
        if words[1] == "train" and (folder / words[words.index("--out") + 1]).exists():
            continue
        call = [sys.executable, *(words[1:] if words[0] == "python" else ["-m", *words])]
        if interrupted:
            said.append(f"exit code {_interrupt(call, folder)}\n")
            continue
        done = _call(call, folder)
        errors = [line for line in done.stderr.splitlines() if line.startswith("equipoise: ")]
        said += [f"{line}\n" for line in errors] if words[1] in SILENT else [told(done.stdout)]
        said += [f"exit code {done.returncode}\n"] if errors else []
    return "\n".join(part for part in said if part.strip())


def _call(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def _interrupt(words: list[str], folder: Path) -> int:
    """Start a run, press Ctrl-C at its third look, and return its exit code."""
    started = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = folder / words[words.index("--out") + 1] / "run.jsonl"
    while started.poll() is None and (not journal.is_file() or journal.read_text().count("\n") < 3):
        time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    return started.wait()


def write(said: dict[str, str]) -> None:
    """Put what examples said into the pages that have them."""
    for page in PAGES:
        if page.is_file():
            old = page.read_text(encoding="utf-8")
            new = EXAMPLE.sub(lambda m: f"{m[1]}{said.get(m[2], m[5])}{m[6]}", old)
            page.write_text(new, encoding="utf-8")


# ------------------------------------------------------------------------------------------------ pictures


def pictures(folder: Path, names: list[str]) -> Iterator[Path]:
    """Take the picture of each example that left a run or a picture of its own."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(parents=True, exist_ok=True)
    flags = os.environ.get("EQUIPOISE_CHROMIUM_FLAGS", "").split()
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for name in names:
            own, run, study = folder / f"{name}.png", folder / "runs" / name, folder / "studies" / name / "chart.svg"
            if own.is_file():
                yield _keep(name, own.read_bytes())
            elif study.is_file():
                yield Path(shutil.copy(study, IMAGES / f"{name}.svg"))
            elif (run / "run.jsonl").is_file():
                _call([sys.executable, "-m", "equipoise", "report", str(run), "--quick"], folder)
                tab = browser.new_page(viewport={"width": 860, "height": 400})
                tab.goto((run / "report.html").resolve().as_uri(), timeout=300_000)
                tab.evaluate(
                    TRIM, ["Losses over their ideal values", "Distance from held-out data", *CHARTS.get(name, ())]
                )
                tab.wait_for_timeout(500)  # charts are drawn anew at their size
                yield _keep(name, tab.screenshot(full_page=True))
                tab.close()
        browser.close()


TRIM = """titles => {
  const gone = ['#next', '#closer', '#metrics', '#recipe', 'footer', '#timeline > :not(.charts)', '#samples h2',
                '.slider', '.samples > p'];
  document.querySelectorAll(gone.join()).forEach(part => part.remove());
  for (const chart of document.querySelectorAll('figure.chart'))
    if (!titles.includes(chart.querySelector('b').textContent)) chart.remove();
  const [first, ...others] = document.querySelectorAll('.charts');
  for (const group of others) { first.append(...group.children); group.remove(); }
}"""


def _keep(name: str, png: bytes) -> Path:
    """Write a picture in 64 colours, which is enough for charts and grey samples."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(64).save(buffer, format="PNG", optimize=True)
    path = IMAGES / f"{name}.png"
    atomic_write(path, buffer.getvalue())
    return path


def main() -> None:
    """Run what is asked for, and bring the pages and the pictures up to date."""
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [example for example in examples(PAGES[0]) if not names or example.name in names]
    for example in chosen:
        began = time.monotonic()
        write({example.name: play(example, folder)})
        print(f"{example.name}: {time.monotonic() - began:.0f} s", flush=True)
    for path in pictures(folder, [example.name for example in chosen]):
        print(f"{path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
