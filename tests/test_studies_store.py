"""A store hands every cell to one process, takes cells back from those that fall silent, and collects what came out."""

import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.errors import InputError
from equipoise.studies import engine, store
from equipoise.studies.progress import Standing
from equipoise.studies.store import Store
from equipoise.studies.study import Setting, Study, Task

pytest.importorskip("optuna", minversion="4.0")

ASKED = Study("shared", (Task("ring", "ring", kimg=0.2),), (Setting("a"), Setting("b")), 2)


@pytest.fixture(params=["journal", "sqlite"])
def url(request, tmp_path):
    return str(tmp_path / "sub" / "study.log") if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def joined(url, asked=ASKED):
    found = Store(url, asked)
    found.publish(found.settled() or asked)
    return found


def result(cell, value=0.5, error=""):
    found = {"task": cell.task.name, "setting": cell.setting.name, "seed": cell.seed, "error": error, "seconds": 1.0}
    return found if error else found | {"primary": "F", "higher": True, "scores": {"F": value}}


def names(cells):
    return [cell.folder.as_posix() for cell in cells]


def drained(queue):
    return list(iter(queue.take, None))


def test_every_cell_is_given_once_in_order(url):
    one, two = joined(url), joined(url)
    first, second = one.take(), two.take()
    assert names([first, second, *drained(one)]) == names(ASKED.cells())
    assert two.take() is None and (one.pending(), one.ready()) == (4, 0)
    one.keep(first, result(first, 0.25))
    two.keep(second, result(second, error="it broke"))
    assert one.pending() == 2 and {cell.name: found for cell, found in one.results()} == {
        first.name: result(first, 0.25), second.name: result(second, error="it broke")}  # fmt: skip


def test_what_failed_waits_again_once_if_two_ask_for_it(url):
    one, two = joined(url), joined(url)
    for cell in drained(one):
        one.keep(cell, result(cell, error="it broke" * (cell.setting.name == "b")))
    (one.again(), two.again())
    assert names(drained(two)) == [name for name in names(ASKED.cells()) if "/b/" in name] and one.take() is None
    assert len(two.results()) == 2


def test_followers_added_at_the_same_moment_count_once(url):
    one, two = joined(url), joined(url)
    cell = one.take()
    key, number = cell.folder.as_posix(), one.mine[cell.folder.as_posix()]
    one.back(cell)
    two._follow(key, number)  # as if it had seen the same end
    assert sorted(names([*drained(one), *drained(two)])) == sorted(names(ASKED.cells()))


def test_a_silent_process_loses_its_cell_and_its_late_word_does_not_count(url, monkeypatch):
    lost, alive = joined(url), joined(url)
    cell = lost.take()
    monkeypatch.setattr(store, "SILENCE", -1.0)
    alive.beat()
    monkeypatch.setattr(store, "SILENCE", 300.0)
    assert cell.folder.as_posix() in names(drained(alive))
    lost.keep(cell, result(cell))
    lost.beat()
    assert alive.results() == [] and alive.pending() == 4


def test_a_cell_that_costs_one_process_after_the_other_is_given_up(url, monkeypatch):
    monkeypatch.setattr(store, "SILENCE", -1.0)
    single = Study("single", ASKED.tasks, (Setting("a"),), 1)
    for _ in range(store.LOSSES):
        queue = joined(url, single)
        assert queue.take() is not None
        queue.mine.clear()  # it is gone
        joined(url, single).beat()
    ((_, found),) = joined(url, single).results()
    assert "3 processes were lost" in found["error"] and joined(url, single).pending() == 0


def test_the_first_settled_study_counts_and_sources_may_lie_elsewhere(url):
    here = Study("moved", (Task("data", "/here"),), (Setting("a"),), 1, budget="9s")
    there = Study("moved", (Task("data", "/there"),), (Setting("a"),), 1, budget="9s")
    one, two = Store(url, here), Store(url, there)
    assert one.settled() is None
    one.publish(Study("moved", (Task("data", "/here", kimg=3.0, fingerprint="f"),), (Setting("a"),), 1, "9s", "cpu"))
    agreed = two.publish(Study("moved", (Task("data", "/there", kimg=5.0),), (Setting("a"),), 1, "9s", "cpu"))
    assert agreed.tasks == (Task("data", "/there", kimg=3.0, fingerprint="f"),) and agreed.device == "cpu"
    assert Store(url, ASKED).settled() is None  # another study in the same store


CLAIM = """
import sys
from pathlib import Path
from test_studies_store import ASKED, Study, joined, names, drained
print("\\n".join(names(drained(joined(sys.argv[1], Study("many", ASKED.tasks, ASKED.settings, 20))))))
"""


def test_processes_at_the_same_time_never_get_the_same_cell(url, tmp_path):
    here = Path(__file__).parent
    command = [sys.executable, "-c", CLAIM, url]
    calls = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here) for _ in range(3)]
    found = [line for call in calls for line in call.communicate()[0].split()]
    assert all(call.returncode == 0 for call in calls)
    assert sorted(found) == sorted(names(Study("many", ASKED.tasks, ASKED.settings, 20).cells()))


def test_a_study_is_run_from_a_store_and_fetched_by_others(url, tmp_path, monkeypatch):
    def work(take, out, devices, stop, beat):
        beat()
        for cell in iter(take, None):
            yield cell, engine.cells.write(cell, out, result(cell, 0.1 * cell.seed, "no" * (cell.setting.name == "b")))

    monkeypatch.setattr(engine.pool, "work", work)
    heard, stood = [], []
    made = engine.compare(ASKED, tmp_path / "one", store=url, say=heard.append, stand=stood.append)
    assert [len(row.failures) for row in made.rows] == [0, 2] and stood[-1] == Standing(4, 4, 2, 0.0)
    assert "4 runs: 2 settings x 1 task x 2 seeds; 4 to do" in heard[0]
    other = engine.compare(ASKED, tmp_path / "two", store=url)
    assert other.rows == made.rows and engine.show(tmp_path / "two").rows == made.rows
    monkeypatch.setattr(sys.modules[__name__], "result", lambda cell, *rest: fine(cell))
    again = engine.compare(ASKED, tmp_path / "two", store=url, retry=True)
    assert [len(row.failures) for row in again.rows] == [0, 0]
    assert engine.compare(ASKED, tmp_path / "one", store=url).rows == again.rows


def fine(cell):
    found = {"task": cell.task.name, "setting": cell.setting.name, "seed": cell.seed, "error": "", "seconds": 1.0}
    return found | {"primary": "F", "higher": True, "scores": {"F": 0.9}}


def test_what_is_under_way_elsewhere_is_waited_for(tmp_path, monkeypatch):
    url = str(tmp_path / "log")
    settled = engine.settle(ASKED, tmp_path / "other", print, elsewhere := Store(url, ASKED))
    taken = drained(elsewhere)
    monkeypatch.setattr(engine, "POLL", 0.0)
    monkeypatch.setattr(elsewhere, "beat", lambda: None)
    said = []

    def say(text):
        said.append(text)
        if "elsewhere" in text:
            for cell in taken:
                elsewhere.keep(cell, fine(cell))

    made = engine.compare(ASKED, tmp_path / "out", store=url, say=say)
    assert any("waiting" in text for text in said) and [len(row.values) for row in made.rows] == [2, 2]
    assert settled.device == "cpu" or made is not None


def test_stores_that_cannot_be_opened_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "TRIES", 1)
    with pytest.raises(InputError, match=r"the store nosuch://\.\.\.@host/db cannot be opened"):
        Store("nosuch://me:secret@host/db", ASKED)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'equipoise\[studies\]'"):
        Store(str(tmp_path / "log"), ASKED)
