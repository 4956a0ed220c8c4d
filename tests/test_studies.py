"""Comparing settings: what is asked, the statistics, the table, and whole small studies with things going wrong."""

import json
import math
import os
import signal
import xml.etree.ElementTree as ET

import pytest

from equipoise.errors import InputError, Interrupted
from equipoise.studies import cells, engine, options, pool, statistics, study, table
from equipoise.studies.study import Cell, Setting, Study, Task
from small_runs import bits, images_file

TINY = {"network.name": "mlp", "network.width": 8, "network.latent_dim": 4, "batch": 8}


def small(path, *settings, seeds=2, **changes):
    task = Task("small", str(path), recipe="digits", kimg=0.16, set=TINY)
    return Study("small", (task,), settings or (Setting("base"), Setting("hinge", {"loss": "hinge"})), seeds, **changes)


@pytest.fixture
def source(tmp_path):
    return images_file(tmp_path / "some.npz", count=200)


# ------------------------------------------------------------------------------------------------ numbers


def test_student_and_holm():
    known = {1: 12.706205, 2: 4.302653, 3: 3.182446, 4: 2.776445, 5: 2.570582, 9: 2.262157, 30: 2.042272}
    for dof, value in known.items():
        assert statistics.t_quantile(dof) == pytest.approx(value, abs=2e-6)
        assert statistics.outside(value, dof) == pytest.approx(0.05, abs=1e-7)
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.01, math.nan])[0] == pytest.approx(0.01)
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_an_estimate_and_a_paired_test_by_hand():
    found = statistics.estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert found == pytest.approx((3.0, 3 - half, 3 + half, 5), abs=1e-5)
    assert math.isnan(statistics.estimate([1.0]).low) and math.isnan(statistics.paired_p([1.0]))
    assert statistics.paired_p([1.0, 2.0, 3.0]) == pytest.approx(0.0741799, abs=1e-6)  # t = 2 sqrt(3), two degrees
    assert statistics.paired_p([0.0, 0.0]) == 1.0 and statistics.paired_p([1.0, 1.0]) == 0.0


def results(values, task="small", higher=True):
    return [
        {"task": task, "setting": name, "seed": seed, "error": "", "primary": "F", "higher": higher, "seconds": 1.0,
         "scores": {"F": value, "recall": 0.5}}
        for name, row in values.items() for seed, value in enumerate(row)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("second", "higher", "says"),
    [
        ([0.61, 0.72, 0.80], True, "better: more than seed noise"),
        ([0.61, 0.72, 0.80], False, "worse: more than seed noise"),
        ([0.51, 0.58, 0.72], True, "no more than seed noise with 3 seeds"),
        ([0.41, 0.50, 0.61], True, "worse: more than seed noise"),
        ([0.5, 0.6, 0.7], True, "F the same as base in all 3 seeds"),
    ],
)
def test_the_sentence_says_whether_it_is_more_than_seed_noise(second, higher, says):
    made = table.tabulate(small("x", seeds=3), results({"base": [0.5, 0.6, 0.7], "hinge": second}, higher=higher))
    assert says in made.rows[1].sentence and made.rows[1].difference.n == 3
    assert "the others are compared with it" in made.rows[0].sentence
    assert ET.fromstring(engine.chart.draw(made)).tag.endswith("svg")
    assert made.csv().count("\n") == 7 and json.loads(made.json())["rows"][1]["primary"] == "F"


def test_failures_are_counted_and_named_and_one_seed_says_nothing():
    rows = results({"base": [0.5, 0.6], "hinge": [0.7]})
    rows.append({"task": "small", "setting": "hinge", "seed": 1, "error": "it broke", "seconds": 1.0})
    made = table.tabulate(small("x"), rows)
    assert "1 of 2 runs failed" in made.rows[1].sentence and "one seed says nothing" in made.rows[1].sentence
    assert "hinge: it broke" in made.text()
    none = table.tabulate(small("x"), [r for r in rows if r["setting"] == "base"])
    assert "no run finished" in none.rows[1].sentence
    assert table.from_csv(small("x"), made.csv()) == made and made.csv().count("it broke") == 1
    ET.fromstring(engine.chart.draw(none))
    ET.fromstring(engine.chart.draw(table.tabulate(small("x"), [])))


def test_an_interval_of_two_seeds_leaves_the_dots_apart_and_says_that_it_goes_on():
    """Student's t of one degree of freedom is 12.7: on an axis that held its interval whole, all dots are one."""
    for values, cut in (({"base": [0.5, 0.6], "hinge": [0.7, 0.65]}, 3), ({"base": [0.5, 0.6, 0.7, 0.55, 0.65]}, 0)):
        made = table.tabulate(small("x", seeds=len(values["base"])), results(values))
        drawn = engine.chart.draw(made)
        shapes = [one for one in ET.fromstring(drawn).iter() if one.get("class") in ("seed", "mean", "bar")]
        assert sum(one.tag.endswith("path") for one in shapes) == cut == drawn.count("95 % interval: ")
        assert (engine.chart.CUT in drawn) == bool(cut)
        dots = [float(one.get("cx")) for one in shapes if one.get("r") == "3"]
        assert max(dots) - min(dots) > 0.25 * engine.chart.PLOT
    two = engine.chart.draw(table.tabulate(small("x"), results({"base": [0.5, 0.6]})))
    assert "95 % interval: -0.08531 to 1.185" in two


def test_columns_in_the_terminal_and_every_score_on_the_page():
    made = table.tabulate(small("x", seeds=3), results({"base": [0.5, 0.6, 0.7], "hinge": [0.61, 0.72, 0.80]}))
    lines = made.text().splitlines()
    assert lines[2:5] == [
        "setting  n  failed      F            95 %  difference              95 %       p  s/run",
        "base     3       0  0.600  0.352 to 0.848                                            1",
        "hinge    3       0  0.710  0.473 to 0.947      +0.110  +0.085 to +0.135  0.0027      1",
    ]
    assert "| base | 3 | 0 | 0.600 | 0.352 to 0.848 |  |  |  | 0.5 | 1 |" in made.markdown()
    assert "recall" in made.markdown() and "recall" not in made.text()


# ------------------------------------------------------------------------------------------------ what is asked


def test_every_combination_of_what_is_varied():
    found = study.varied(options.parse_vary(["loss=hinge,rpgan", "r1.gamma=0,0.1", "r1=on"]))
    assert len(found) == 4 and found[0].name == "loss=hinge, r1.gamma=0, r1=on"
    assert found[3].set == {"loss": "rpgan", "r1.gamma": 0.1, "r1": True}
    assert options.parse_vary(["G.lr=[1,2],3"]) == {"G.lr": [[1, 2], 3]}
    with pytest.raises(InputError, match="write path=value"):
        options.parse_vary(["loss"])


def test_what_a_cell_sets_and_where_it_lives():
    task = Task("my task", "ring", set={"a": 1, "b": 1, "c": 1})
    cell = Cell(task, Setting("R1 + R2", {"b": 2, "c": 2}, {"my task": {"c": 3}, "other": {"a": 9}}), 4)
    assert cell.changes == {"a": 1, "b": 2, "c": 3}
    assert cell.folder.as_posix() == "cells/my-task/R1-+-R2/seed4"


@pytest.mark.parametrize("name", study.shipped())
def test_the_included_studies_can_be_run(name):
    found = study.read(name)
    assert found.seeds == 5 and {task.name for task in found.tasks} == {"ring", "grid", "digits", "stacked"}
    for cell in found.cells()[: len(found.tasks) * len(found.settings)]:
        made = cells.request(cell)
        assert made.changes == cell.changes
    assert study.from_json(found.as_json()) == found


def test_a_study_file(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    monkeypatch.setenv("PICTURES", "/somewhere")
    path.write_text(
        'seeds = 2\n[[task]]\nsource = "$PICTURES/x"\nset = { "r1" = "on" }\n[vary]\n"loss" = ["hinge", "rpgan"]\n'
    )
    found = study.read(str(path))
    assert found.tasks[0].source == "/somewhere/x" and found.tasks[0].set == {"r1": True} and found.title == "mine"
    assert [setting.set for setting in found.settings] == [{"loss": "hinge"}, {"loss": "rpgan"}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[task", "cannot be read"),
        ('[[task]]\nsource = "ring"\n', "needs a task, a setting"),
        ('[[task]]\nname = "x"\n[[setting]]\nname = "a"\n', "without 'source'"),
        ('[[task]]\nsource = "ring"\nwidth = 3\n[[setting]]\nname = "a"\n', "means nothing there"),
        ('[[task]]\nsource = "$NOWHERE_9/x"\n[[setting]]\nname = "a"\n', "not set"),
        ('[[task]]\nsource = "ring"\n[[setting]]\nname = "a"\n[[setting]]\nname = "a"\n', "two settings"),
        (
            '[[task]]\nsource = "ring"\n[[setting]]\nname = "a"\ntask = { rinf = { "r1" = "on" } }\n',
            "did you mean ring",
        ),
        ('[[task]]\nsource = "ring"\n[[setting]]\nname = "a"\n[vary]\nloss = ["hinge"]\n', "both"),
    ],
)
def test_a_study_file_that_cannot_be_used_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        study.read(str(path))


def test_data_to_judge_by_come_from_the_file_or_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES", "/somewhere")
    path = tmp_path / "mine.toml"
    path.write_text('[[task]]\nsource = "a"\nagainst = "$PICTURES/test"\n[vary]\n"loss" = ["hinge", "rpgan"]\n')
    assert study.read(str(path)).tasks[0].against == "/somewhere/test"
    none = dict.fromkeys(("study", "seeds", "kimg", "budget", "recipe", "resolution", "labels"))
    given = {"vary": ["loss=hinge,rpgan"], "settings": [], "against": "digits:test"}
    assert options.from_options("digits:train", **none, **given).tasks[0].against == "digits:test"
    with pytest.raises(InputError, match="says what is compared"):
        options.from_options(None, **none | {"study": "regularisation"}, vary=[], settings=[], against="digits:test")


def test_a_study_is_judged_by_the_data_of_its_task_and_by_no_others_when_it_goes_on(tmp_path, source):
    others = images_file(tmp_path / "others.npz", count=150, first=200)
    task = Task("small", source, recipe="digits", kimg=0.16, set=TINY, against=others)
    asked, out = Study("small", (task,), (Setting("base"),), 1), tmp_path / "out"
    (cell,) = engine.settle(asked, out, print).cells()
    found = cells.run(cell, out, "cpu", lambda: False)["scores"]
    assert found == cells.scores.score(out / cell.folder, 0, against=others).values
    assert found != cells.scores.score(out / cell.folder, 0).values
    cells.forget(cell, out)
    images_file(tmp_path / "others.npz", count=150, first=201)
    with pytest.raises(InputError, match="other data than when the study began"):
        engine.settle(asked, out, print)
    taught = Study("small", (Task("small", source, recipe="digits", set=TINY, against=source),), (Setting("base"),), 1)
    with pytest.raises(InputError, match="are trained on"):
        engine.settle(taught, tmp_path / "taught", print)
    assert not (tmp_path / "taught").exists()


def test_what_the_command_line_refuses():
    none = dict(source=None, study=None, vary=[], settings=[], seeds=None, kimg=None, budget=None, recipe=None,
                resolution=None, labels=None)  # fmt: skip
    for changes, says in (({}, "nothing to compare"), ({"study": "nothing"}, "no study"),
                          ({"study": "regularisation", "vary": ["a=1"]}, "what is compared"),
                          ({"kimg": 1.0, "budget": "1s"}, "both fix")):  # fmt: skip
        with pytest.raises(InputError, match=says):
            options.from_options(**{**none, **changes})
    asked = options.from_options(**{**none, "study": "regularisation", "seeds": 2, "kimg": 1.0})
    assert asked.seeds == 2 and {task.kimg for task in asked.tasks} == {1.0}


# ------------------------------------------------------------------------------------------------ whole studies


def test_a_study_runs_is_resumed_and_shown(tmp_path, source):
    asked, out, heard = small(source, seeds=1), tmp_path / "out", []
    made = engine.compare(asked, out, workers=2, say=heard.append)
    assert [row.setting for row in made.rows] == ["base", "hinge"] and not any(row.failures for row in made.rows)
    assert {"table.md", "results.csv", "results.json", "chart.svg", "study.json"} <= {p.name for p in out.iterdir()}
    again = []
    assert engine.compare(asked, out, say=again.append).text() == made.text() == engine.show(out).text()
    assert len(heard) == 3 and again == []
    more = engine.compare  # another study may not go into the same folder
    with pytest.raises(InputError, match="holds another study"):
        more(small(source, seeds=3), out)


def test_a_cell_has_the_same_bits_whichever_process_ran_it_and_after_what(tmp_path, source):
    asked = small(source, seeds=1)
    engine.compare(asked, tmp_path / "one", workers=1)
    engine.compare(asked, tmp_path / "two", workers=2)
    for cell in asked.cells():
        assert bits(tmp_path / "one" / cell.folder) == bits(tmp_path / "two" / cell.folder)


@pytest.mark.parametrize(
    ("path", "says"),
    [("losss", "did you mean loss"), ("seed", "give their number as --seeds"), ("kimg", "equal length")],
)
def test_a_bad_setting_is_one_sentence_before_anything_runs(tmp_path, source, path, says):
    asked = small(source, Setting("base"), Setting("bad", {path: 3}))
    with pytest.raises(InputError, match=says):
        engine.compare(asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_killed_worker_fails_its_cell_and_the_others_go_on(tmp_path, source):
    asked = small(source, seeds=2)
    settled, out = engine.settle(asked, tmp_path / "out", print), tmp_path / "out"
    killed, ended = [], []
    left = settled.cells()
    running = pool.work(lambda: left.pop(0) if left else None, out, ["cpu"], lambda: False)
    import multiprocessing

    for cell, found in running:
        ended.append((cell, found))
        if not killed:
            killed.append(cell)
            (child,) = multiprocessing.active_children()
            os.kill(child.pid, signal.SIGKILL)
    assert len(ended) == 4 and ["died" in found["error"] for _, found in ended] == [False, True, False, False]


def test_what_failed_is_named_and_how_to_run_it_again(tmp_path, source, monkeypatch):
    monkeypatch.setattr(engine.pool, "work", lambda take, *rest: iter([(take(), {"error": "it died"})]))
    asked, out, heard = small(source, seeds=1), tmp_path / "out", []
    made = engine.compare(asked, out, workers=1, say=heard.append)
    assert heard[1:] == ["small, base, seed 0: failed (it died).", "small, hinge, seed 0: failed (it died)."]
    assert [row.failures for row in made.rows] == [["it died"]] * 2
    assert "Failures (--retry runs them again):\n\n- base: it died\n- hinge: it died\n" in made.text()
    engine.compare(asked, out, workers=1, say=heard.append)
    assert len(heard) == 3  # failures are results too
    engine.compare(asked, out, workers=1, retry=True, say=heard.append)
    assert len(heard) == 6


def test_a_wish_to_stop_leaves_checkpoints_and_the_same_call_goes_on(tmp_path, source):
    task = Task("small", str(source), recipe="digits", kimg=400.0, set=TINY)
    asked, out, seen = Study("long", (task,), (Setting("base"),), 1), tmp_path / "out", []
    folder = out / asked.cells()[0].folder
    with pytest.raises(Interrupted, match="goes on"):
        engine.compare(asked, out, workers=1, stop=lambda: seen.append(1) or (folder / "run.jsonl").is_file())
    assert (folder / "checkpoints" / "latest").is_file() and not (folder / "result.json").exists()


def test_a_budget_becomes_the_same_length_for_all_settings_once(tmp_path, source, monkeypatch):
    speeds = iter([100.0, 50.0])
    monkeypatch.setattr("equipoise.studies.settle.measure_speed", lambda *given, **more: next(speeds))
    task = Task("small", str(source), recipe="digits", set=TINY)
    asked = Study("b", (task,), (Setting("base"), Setting("hinge", {"loss": "hinge"})), 1, budget="10s")
    settled = engine.settle(asked, tmp_path / "out", print)
    assert settled.tasks[0].kimg == pytest.approx(50 * 10 * 0.94 / 1000)
    assert engine.settle(asked, tmp_path / "out", print) == settled  # measured once only


def test_places():
    assert engine.places(3, 2) == ["cpu"] * 2
    with pytest.raises(InputError, match="runs nothing"):
        engine.places(0, 2)
