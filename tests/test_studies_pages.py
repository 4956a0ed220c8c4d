"""Pages of studies that were run: their figures are those of the rows beside them, their tasks those of the file."""

from dataclasses import replace
from pathlib import Path

import pytest

from equipoise.studies import chart, study, table

ROOT = Path(__file__).parents[1]
KEPT = sorted((ROOT / "docs" / "studies").glob("*.csv"))
ELSEWHERE = {"stacked-mnist": ROOT / "benchmarks" / "stacked_mnist.toml"}  # the others come with the package


def parted(stem: str) -> tuple[str, str]:
    """The study's name, and the task where it was run anew and by itself."""
    name, _, last = stem.rpartition("-")
    return (name, last) if last in ("ring", "grid", "digits") else (stem, "")


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_page_says_what_its_rows_say(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_DATA", "data")
    name, alone = parted(path.stem)
    whole, text = study.read(str(ELSEWHERE.get(name, name))), path.read_text(encoding="utf-8")
    tasks = tuple(task for task in whole.tasks if alone in ("", task.name))
    settings = tuple(replace(s, task={key: s.task[key] for key in s.task if key in {t.name for t in tasks}})
                     for s in whole.settings)  # fmt: skip
    asked = replace(whole, tasks=tasks, settings=settings)
    made = table.from_csv(asked, text)
    ran = {(one["task"], one["setting"], one["seed"]) for one in made.results}
    assert ran == {(cell.task.name, cell.setting.name, cell.seed) for cell in asked.cells()}
    page = (path.parent / f"{name}.md").read_text(encoding="utf-8")
    for line in made.markdown().splitlines():
        assert line.startswith(("# ", "![chart]")) or line in page
    for task in tasks:
        assert f"{task.name} {task.kimg:g}" in page  # kimg
    assert path.with_suffix(".svg").read_text(encoding="utf-8") == chart.draw(made)
