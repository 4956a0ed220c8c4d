"""What README.md and docs/ say can be done can be done, and their tables are those of the code."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from equipoise.studies.balance.command import report
from equipoise.studies.balance.references import references
from equipoise.studies.balance.rows import read
from equipoise.studies.balance.table import chart

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load(ROOT / "docs" / "generate.py")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


PAGE_OF_LOOPS = blocks(ROOT / "docs" / "own_loop.md", "python")


@pytest.mark.parametrize("page", generate.PAGES)
def test_the_tables_are_those_of_the_code(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert generate.filled(text) == text, "run: python docs/generate.py"


def test_the_table_and_chart_of_balance_are_those_of_its_rows() -> None:
    folder = ROOT / "docs" / "studies" / "balance"
    rows = [row for row in read(folder / "rows.jsonl") if row.holds]
    assert (folder / "table.md").read_text(encoding="utf-8") == report(rows), "run the command at the page's head again"
    assert (folder / "chart.svg").read_text(encoding="utf-8") == chart(rows, references())


def test_a_stale_table_is_seen_and_mended() -> None:
    text = "<!-- generated: parts-schedule -->\nold\n<!-- end -->\n"
    mended = generate.filled(text)
    assert "old" not in mended and "`cosine`" in mended and "arxiv.org/abs/1608.03983" in mended
    assert generate.filled(mended) == mended


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def told_commands() -> list[tuple[str, list[str]]]:
    """Every call of the command line in the pages, without its comment."""
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]
    calls = [shlex.split(line, comments=True) for line in lines if line.startswith("equipoise ")]
    return [(" ".join(words), words[1:]) for words in calls]


@pytest.mark.parametrize(("line", "words"), told_commands())
def test_the_commands_in_the_pages_exist(line: str, words: list[str]) -> None:
    from equipoise.cli import app

    known = {name: set(re.findall(r"`(--[a-z-]+)`", generate.option_table(function)))
             for name, function in generate.leaves(app, "equipoise")}  # fmt: skip
    name = max((name for name in known if line.startswith(name)), key=len)
    assert {word for word in words if word.startswith("--")} <= known[name]


CHINESE = [path for path in PAGES if path.name.endswith(".zh-CN.md")]


def bones(page: Path) -> dict[str, list[str]]:
    """What a translation shares with its page: code, the levels of headings, rows of tables, links and pictures."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    links = [link.replace(".zh-CN", "") for link in re.findall(r"\]\(([^)#\s]+)", prose)]
    return {
        "code": re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE),
        "headings": re.findall(r"^#+(?= )", prose, re.MULTILINE),
        "rows": [row.count("|") for row in re.findall(r"^\|.*\|$", prose, re.MULTILINE)],
        "first columns": re.findall(r"^\| (`[^|]+`) \|", prose.replace("`、`", "`, `"), re.MULTILINE),
        "links": sorted(set(links) - {page.name.replace(".zh-CN", "")}),
    }


def test_there_are_translations() -> None:
    assert [path.name for path in CHINESE] == ["README.zh-CN.md", "questions.zh-CN.md"]


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
@pytest.mark.parametrize("what", ["code", "headings", "rows", "first columns", "links"])
def test_a_translation_follows_its_page(page: Path, what: str) -> None:
    """Whoever changes a page changes its translation too."""
    english = page.with_name(page.name.replace(".zh-CN", ""))
    assert bones(page)[what] == bones(english)[what]
    assert f"]({page.name})" in english.read_text(encoding="utf-8")
    assert f"]({english.name})" in page.read_text(encoding="utf-8")


def test_ci_runs_the_test_command_of_the_readme() -> None:
    _, command = [
        block.strip() for block in blocks(ROOT / "README.md", "sh") if block.startswith("python3 bootstrap.py")
    ]
    assert command == "python3 bootstrap.py test"
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(command.replace("python3", '"$python"'))


@pytest.mark.parametrize("pages", [["README.md"], ["docs/architecture.md", "docs/runs.md"]], ids=lambda pages: pages[0])
def test_the_python_in_the_pages_runs(pages: list[str], tmp_path: Path) -> None:
    """In a process of its own, as a reader would: in order, in an empty folder."""
    code = "\n".join(block for page in pages for block in blocks(ROOT / page, "python"))
    assert "equipoise" in code
    code = code.replace('budget="20s"', "kimg=2").replace('budget="2s"', "kimg=2")
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint(locals().get('gap') or threes.shape)"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "(16, 1, 8, 8)" in done.stdout or "[(0.064," in done.stdout
    if "runs/drift" in code:
        assert '"D.drift"' in (tmp_path / "runs/drift/run.jsonl").read_text()
        assert '"D.offset"' in (tmp_path / "runs/drift/run.jsonl").read_text()


def test_the_loop_in_the_page_on_steering_moves() -> None:
    (code,) = blocks(ROOT / "docs" / "steering.md", "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4 kimg: p 0 -> 0.008, since memory is 0.6 and 0.3 is aimed at\n"


def test_the_loops_in_the_page_on_loops_of_ones_own_run(tmp_path: Path) -> None:
    """In order, in one process; what needs Lightning or Accelerate only where these are installed."""
    found = [re.findall(r"^import (lightning|accelerate)$", block, re.MULTILINE) for block in PAGE_OF_LOOPS]
    code = [block for block, needs in zip(PAGE_OF_LOOPS, found, strict=True)
            if all(importlib.util.find_spec(name) for name in needs)]  # fmt: skip
    assert len(code) >= 8 and sum(map(len, found)) == 2
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cannot be told:" in done.stdout and "adversarial weight 1 -> 0" in done.stdout


def test_comments_beside_arguments_become_descriptions() -> None:
    from equipoise.recipe import Player

    assert generate.remarks(Player)["clip"] == "largest gradient norm, 0 for none"

    def example(
        first: int,
        second: float = 0.5,  # a share
    ) -> None: ...

    found = generate.parameters(example)
    assert found == [("first", inspect.Parameter.empty, ""), ("second", 0.5, "a share")]
