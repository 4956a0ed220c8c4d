"""The proving ground: settings checked, pairs as asked, data made wrong, scores by hand, a benchmark that goes on."""

import concurrent.futures
import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from equipoise import step
from equipoise.autopilot import PARTS
from equipoise.cli import app
from equipoise.errors import InputError, TrainingFailed
from equipoise.studies.balance import adapter, arms, bench, command, networks, references, settings, table, tasks, train
from equipoise.studies.balance.arms import ARMS
from equipoise.studies.balance.rows import ROWS, Cell, Row, read
from equipoise.studies.balance.scenarios import SCENARIOS, forget, named, shake

SMALL = {"shape": 2, "zdim": 3, "g_widths": [8, 6], "d_widths": [5], "updates": 6, "batch": 8}


@pytest.fixture
def points():
    return np.random.default_rng(0).standard_normal((64, 2)).astype(np.float32)


# ------------------------------------------------------------------------------------------------ the adapter


def test_train_gives_samples_that_follow_from_the_seed(points):
    made = train(SMALL, points, 0, 5)
    assert made.shape == (5, 2) and made.dtype == np.float32
    assert (train(SMALL, points, 0, 5) == made).all()
    assert (train(SMALL, points, 1, 5) != made).any()


@pytest.mark.parametrize("balance", ["off", "act"])
@pytest.mark.parametrize(("updates", "n_dis", "rounds"), [(7, 5, 2), (1, 10, 1), (7, 1.5, 5), (6, 3, 2), (6, 0.5, 11)])
def test_no_update_is_made_beyond_those_given(points, monkeypatch, balance, updates, n_dis, rounds):
    made, move = [], step.Step.move
    monkeypatch.setattr(step.Step, "move", lambda self, role, *args: [made.append(role), move(self, role, *args)])
    train(SMALL | {"updates": updates, "n_dis": n_dis, "balance": balance}, points, 0, 5)
    assert made.count("D") == updates and min(rounds, updates) <= made.count("G") <= max(rounds, updates)
    assert balance == "act" or made.count("G") == rounds


def test_short_runs_are_looked_at_less_often_and_long_ones_as_before(points):
    def updates_apart(updates, n_dis):
        full = settings.check(SMALL | {"updates": updates, "n_dis": n_dis, "balance": "act"})
        return adapter.configured(full, adapter.as_dataset(points, (2,)), 0).tick_kimg * 1000 / SMALL["batch"]

    assert [updates_apart(200, n_dis) for n_dis in (1, 3, 10)] == pytest.approx([5, 15, 20])
    assert [updates_apart(updates, 10) for updates in (2000, 2500)] == [20, 25] and updates_apart(600, 1) == 6


def test_images_keep_their_range():
    cfg = {"shape": [1, 8, 8], "zdim": 3, "g_widths": [4, 3], "d_widths": [4, 3], "updates": 3, "batch": 4}
    rows = np.random.default_rng(0).standard_normal((16, 1, 8, 8)) * 50
    assert train(cfg, rows, 0, 3).shape == (3, 1, 8, 8)
    with pytest.warns(UserWarning, match=r"half of the data lie beyond 3\d.*out='tanh' reaches from -1 to 1"):
        assert abs(train(cfg | {"out": "tanh"}, rows, 0, 3)).max() <= 1


@pytest.mark.parametrize("balance", ["off", "act"])
@pytest.mark.parametrize(("channels", "transforms"), [(2, "bg"), (3, "bgc"), (4, "bg")])
def test_images_of_any_channels_are_augmented_and_need_no_widths(balance, channels, transforms):
    rows = np.random.default_rng(0).standard_normal((24, channels, 8, 8)).astype(np.float32)
    cfg = {"updates": 3, "batch": 4, "aug": 0.9, "zdim": 3, "balance": balance}
    assert train(cfg, rows, 0, 2).shape == (2, channels, 8, 8)
    recipe = adapter.configured(settings.check(cfg), adapter.as_dataset(rows, rows.shape[1:]), 0).recipe
    assert recipe.augmentations["ada"].get("preset", "bgc") == transforms


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
@pytest.mark.parametrize("name", networks.ACTIVATIONS)
def test_the_pair_has_the_activation_asked_for(shape, name):
    kind = type(networks.ACTIVATIONS[name]())
    for network in networks.pair(shape, 3, [6, 5], [4, 7], tanh=False, activation=name):
        hidden = [
            layer for layer in network if not list(layer.parameters()) and type(layer).__module__.endswith("activation")
        ]
        assert len(hidden) == 2 and all(type(layer) is kind for layer in hidden)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr_q": 1}, "lr_g"),
        ({"activation": "swish"}, "'leaky_relu' or 'relu' or 'elu'"),
        ({"loss": "wgan"}, "rpgan"),
        ({"lr_g": -1}, "0 or more"),
        ({"beta1": 1.0}, "beta1"),
        ({"batch": 2.5}, "whole number"),
        ({"n_dis": 0.0}, "above 0"),
        ({"g_widths": []}, "list of widths"),
        ({"shape": [2, 2]}, "C, H, W"),
        ({"shape": 3}, "rows shaped"),
        *(({"shape": shape}, "is no shape") for shape in ("two", None, [[2]], float("nan"), 2.7, True, [])),
        ({3: 1}, "cfg has 3"),
        *(({"decay": decay}, "give False or True") for decay in ("false", "no", "flip", 0.5, None, np.array([1, 0]))),
        ({"g_widths": [8.7]}, "each a whole number from 1"),
        ({"d_widths": np.array([[8]])}, "list of widths"),
        ({"zdim": 10**400}, "whole number"),
        ({"lr_g": 10**400}, "0 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(points, change, said):
    with pytest.raises(InputError, match=said):
        train(SMALL | change, points, 0, 5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cfg": None}, "cfg=None holds no settings"),
        *(({"n": n}, f"n={n!r} cannot work; give a whole number from 1") for n in (0, 2.5, "3", None)),
        *(({"seed": seed}, "give a whole number from 0, below 2.63") for seed in (-1, 1.5, None, "0", 2**70)),
        ({"data": np.zeros((0, 2))}, "has no rows"),
        ({"data": np.zeros(8)}, "has no rows"),
        ({"data": [[1.0, 2.0], [3.0]]}, "no array of numbers"),
        ({"data": [["a", "b"]]}, "give real numbers"),
        ({"data": None}, "give real numbers"),
        ({"data": np.ones((8, 2), complex)}, "imaginary part would be lost"),
        ({"data": np.full((8, 2), 1e200)}, "reaches to 1e.200, beyond what single precision can be trained in"),
        ({"data": np.full((8, 2), 1e16)}, "reaches to 1e.16, beyond"),
        ({"data": 1e4 + 1e-6 * np.arange(16.0).reshape(8, 2)}, "less than single precision can tell at 1e.04"),
        ({"data": np.ma.masked_greater(np.arange(16.0).reshape(8, 2), 9)}, "has masked values"),
        ({"data": np.ones((8, 2))}, "all 8 samples .* identical"),
        ({"data": np.full((8, 2), np.nan)}, "NaN or infinity"),
    ],
)
def test_arguments_that_cannot_work_are_refused(points, changed, said):
    with pytest.raises(InputError, match=said):
        train(**{"cfg": SMALL, "data": points, "seed": 0, "n": 5} | changed)


def test_numbers_and_widths_of_numpy_are_as_good_as_pythons(points):
    settings_ = {"shape": np.int64(2), "zdim": np.int32(3), "g_widths": np.array([8, 6]), "d_widths": (np.int64(5),)}
    more = {"decay": np.bool_(False), "lr_g": np.float64(2e-3), "updates": np.array(6)}
    made = train(SMALL | settings_ | more, points.tolist(), np.int64(0), np.int64(5))
    assert (made == train(SMALL, points, 0, 5)).all()


def test_widths_must_lead_from_4x4_to_the_image():
    with pytest.raises(InputError, match="3 widths"):
        networks.pair((1, 8, 8), 3, [4, 4, 4], [4, 4], tanh=True)


def test_the_pair_is_as_wide_as_asked_and_initialised_in_units_of_he():
    torch.manual_seed(0)
    generator, discriminator = networks.pair((2,), 4, [300, 400], [500], tanh=False, std_g=3.0)
    assert [tuple(p.shape) for p in generator.parameters() if p.dim() == 2] == [(300, 4), (400, 300), (2, 400)]
    he = (2 / (1 + 0.2**2) / 300) ** 0.5
    assert float(generator[2].weight.detach().std()) == pytest.approx(3 * he, rel=0.02)
    assert discriminator(torch.zeros(7, 2)).shape == (7,)


def test_the_recipe_means_what_the_settings_say():
    full = settings.check(SMALL | {"decay": True, "n_dis": 5, "r1": 0.2, "aug": 0.5, "ema": 0.5})
    recipe = settings.recipe(full, channels=0, scale=4.0)
    assert recipe.D.steps == 5 and recipe.terms == {"r1": {"gamma": 0.2}}
    assert recipe.augmentations == {"instance-noise": {"std": 2.0}}
    assert recipe.ema_kimg == pytest.approx(0.008) and recipe.kimg == pytest.approx(0.048)  # one batch; six of them
    assert [recipe.schedules["lr"].factor(seen, 100) for seen in (50, 75, 100)] == [1.0, 0.5, 0.0]


# ------------------------------------------------------------------------------------------------ tasks, scenarios


def test_true_samples_score_high_and_memorised_ones_low():
    ring = tasks.RING8.material(0, "whole")
    assert ring.score(tasks.RING8.material(1, "whole").rows) == pytest.approx(0.967, abs=0.015)
    digits = tasks.DIGITS.material(0, "whole")
    rows = digits.rows
    assert digits.score(rows[:897]) == pytest.approx(0.958, abs=0.015)
    assert digits.score(np.resize(rows[:100], (897, 64))) == pytest.approx(0.59, abs=0.05)


def test_a_sample_that_is_not_finite_is_a_miss():
    ring = tasks.RING8.material(0, "whole")
    half = np.resize(ring.rows, (5000, 2)).astype(float)
    whole = ring.score(half)
    half[::2] = np.nan
    assert ring.score(half) == pytest.approx(whole / 2, abs=0.02)
    assert tasks.neighbourly(ring.rows, np.full((100, 2), np.nan))["F"] == 0


def test_data_made_wrong():
    tail = tasks.RING8.material(0, "tail")
    counts = np.bincount(tail.labels)
    assert counts[0] / counts[7] == pytest.approx(20, rel=0.3) and (np.diff(counts) < 0).all()
    copied = tasks.DIGITS.material(0, "copies").rows
    _, times = np.unique(copied, axis=0, return_counts=True)
    assert len(copied) == 900 and sorted(times)[-5:] == [91] * 5
    assert [len(tasks.TASKS[name].material(0, "tiny").rows) for name in ("ring8", "digits")] == [50, 100]


def test_scenarios_change_what_they_say():
    cfg = tasks.RING8.cfg
    assert SCENARIOS["G's rate x10"].applied(cfg)["lr_g"] == pytest.approx(0.04)
    assert SCENARIOS["D four times as wide"].applied(cfg)["d_widths"] == [192] * 3
    assert SCENARIOS["decay flipped"].applied(cfg)["decay"] is False
    assert SCENARIOS["healthy"].applied(cfg) == dict(cfg)


def test_a_kind_stands_for_its_scenarios():
    assert named(["disturbed", "healthy", "G is shaken"]) == ["D forgets", "G is shaken", "healthy"]


@pytest.mark.parametrize(("given", "meant"), [("mixd", "mixed"), ("helthy", "healthy")])
def test_names_and_kinds_are_suggested(given, meant):
    with pytest.raises(InputError, match=f"no kind of them called '{given}'; did you mean {meant}"):
        named(["healthy", given])


def test_blows_change_whom_they_name():
    def changed(name):
        pair = networks.pair((2,), 4, [8], [8], tanh=False)
        before = [network[0].weight.detach().clone() for network in pair]
        SCENARIOS[name].blow(pair)
        return [float((network[0].weight / old).std()) for network, old in zip(pair, before, strict=True)], [
            float((network[0].weight / old).mean()) for network, old in zip(pair, before, strict=True)
        ]

    assert [spread > 0.1 for spread in changed("D is shaken")[0]] == [False, True]
    assert [spread > 0.1 for spread in changed("both forget")[0]] == [True, True]
    assert changed("D's weights grow threefold")[1] == pytest.approx([1.0, 3.0])
    assert changed("G's weights shrink to .3")[1] == pytest.approx([0.3, 1.0])


def test_a_blow_falls_once_at_two_fifths():
    pair = networks.pair((2,), 4, [8], [8], tanh=False)
    before = [[p.detach().clone() for p in network.parameters()] for network in pair]
    disturb = SCENARIOS["D forgets"].disturb(tasks.RING8.cfg)
    disturb(999, pair)
    assert (pair[1][0].weight == before[1][0]).all()
    disturb(1000, pair)
    assert (pair[1][0].weight != before[1][0]).any() and (pair[0][0].weight == before[0][0]).all()
    forget(pair)
    shake(pair)
    moved = (pair[0][0].weight - before[0][0]).square().mean().sqrt() / before[0][0].square().mean().sqrt()
    assert 0.3 < moved < 0.7


def test_every_arm_is_a_setting_that_can_run():
    for arm in ARMS.values():
        settings.check(arm.applied(tasks.DIGITS.cfg))


# ------------------------------------------------------------------------------------------------ the benchmark


def row(scenario, arm, score, seed=0, moves=0, seconds=1.0):
    form = ARMS[arm].form if arm in ARMS else 0
    return Row("ring8", scenario, arm, seed, score, seconds, moves, form=form)


def test_a_benchmark_goes_on_where_it_stopped(tmp_path, monkeypatch):
    wanted = bench.cells(["ring8"], ["healthy"], ["untouched"], range(3))
    lines = [json.dumps(vars(row("healthy", "untouched", 0.5, seed))) for seed in (0, 2)]
    (tmp_path / ROWS).write_text("\n".join([*lines, '{"task": "ri']), encoding="utf-8")
    with pytest.raises(InputError, match="there is no arm"):
        bench.cells(["ring8"], ["healthy"], ["untuched"], range(3))
    ran = []
    monkeypatch.setattr(
        bench, "_work", lambda cells, *_: (ran.append(c) or row("healthy", "untouched", 0.9, c.seed) for c in cells)
    )
    done = bench.bench(wanted, tmp_path, say=lambda text: None)
    assert [cell.seed for cell in ran] == [1]
    assert sorted((r.seed, r.score) for r in done) == [(0, 0.5), (1, 0.9), (2, 0.5)]


def test_rows_of_other_rules_are_measured_again(tmp_path, monkeypatch):
    """Only where the autopilot steered, and out of the tables until then."""
    monkeypatch.setattr(arms, "FORM", 2)
    old = [
        dataclasses.replace(row("healthy", arm, 0.5), form=form) for arm, form in (("untouched", 0), ("autopilot", 1))
    ]
    (tmp_path / ROWS).write_text("".join(json.dumps(vars(one)) + "\n" for one in old), encoding="utf-8")
    assert [one.holds for one in old] == [True, False]
    told = []
    monkeypatch.setattr(
        bench, "_work", lambda cells, *_: (dataclasses.replace(row("healthy", c.arm, 0.9), form=2) for c in cells)
    )
    given = "ring8", "healthy", "untouched,autopilot", range(1), 1, tmp_path, False, told.append, lambda: False
    stopped = command.run(*given[:3], range(0), *given[4:])  # nothing asked for: the table of what holds
    assert "| ring8 | untouched |" in stopped and "autopilot" not in stopped
    assert "| ring8 | autopilot |" in command.run(*given)
    assert "2 cells, 1 to run (1 of them again, since the autopilot's rules have changed)" in told[1]
    assert [(one.arm, one.score) for one in read(tmp_path / ROWS)] == [
        ("untouched", 0.5),
        ("autopilot", 0.9),
    ]


def test_a_leftover_recording_and_wrong_settings_score_no_cell(tmp_path, monkeypatch):
    """A folder of a benchmark that was stopped stays, and the cell records beside it; only a failed run is a row."""
    cell, given = Cell("ring8", "healthy", "untouched", 0), []

    def steered(*args, out, **kwargs):
        given.append(out.name)
        out.mkdir(parents=True)
        raise TrainingFailed("lost") if len(given) < 3 else InputError("no")

    monkeypatch.setattr(adapter, "steered", steered)
    rows = [bench.run(cell, tmp_path) for _ in range(2)]
    assert [(found.score, found.error) for found in rows] == [(0.0, "lost")] * 2
    with pytest.raises(InputError, match="no"):
        bench.run(cell, tmp_path)
    assert given == ["ring8-healthy-untouched-0", "ring8-healthy-untouched-0~2", "ring8-healthy-untouched-0~3"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scenario": "helthy"}, "line 2 of .*'helthy' is not known here"),
        ({"arm": "autopilot without wings"}, "wings"),
        ({"task": ["ring8"]}, "line 2"),
        ({"score": "0.5"}, "score='0.5'"),
        ({"score": float("nan")}, "from 0 to 1"),
        ({"seed": True}, "seed=True"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_rows_of_something_else_are_refused_and_stay(tmp_path, change, said):
    path, good = tmp_path / ROWS, vars(row("healthy", "untouched", 0.5))
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good | change)}\n", encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="line 1 of"):
        bench.bench([], tmp_path, say=lambda text: None)
    assert path.read_bytes() == bytes(range(256))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "0"], "--seeds 0 runs nothing"),
        (["--references", "--seeds", "-1"], "--seeds -1 runs nothing"),
        (["--first-seed", "-1"], "no seed"),
        (["--tasks", ""], "--tasks '' names nothing"),
        (["--arms", ""], "--arms '' names nothing"),
        (["--scenarios", " , "], "--scenarios ' , ' names nothing"),
        (["--out", "file"], "file cannot be a folder"),
    ],
)
def test_a_benchmark_of_nothing_is_refused(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    found = CliRunner().invoke(app, ["bench", "balance", *options], catch_exceptions=True)
    assert isinstance(found.exception, InputError) and said in str(found.exception)


def test_a_task_named_twice_is_run_once():
    assert command._names("--tasks", "ring8, digits,ring8,") == ["ring8", "digits"]


def test_the_table_counts_by_hand():
    rows = [row("healthy", "untouched", 0.80), row("ten D steps", "untouched", 0.20)]
    rows += [row("healthy", "untouched", 0.10, seed=1), row("ten D steps", "autopilot", 0.80, seed=1)]  # unpaired
    rows += [row(name, "autopilot", score, moves=moves)
             for name, score, moves in (("healthy", 0.77, 4), ("ten D steps", 0.73, 6))]  # fmt: skip
    text = table.table(rows, {"ring8": {"whole": 0.80}})
    assert (
        "| ring8 | autopilot | 50 / 100 % of 2 |  | 100 / 100 % of 1 |  |  | 0.91 (ten D steps) | +0.037 | 4 | 1.0 |\n"
        in text
    )
    assert "over the seeds that both have" in text
    assert "| ten D steps | repairable | 0.25 | 0.96 (+0.66) |" in table.by_scenario(
        rows, {"ring8": {"whole": 0.80}}, "ring8"
    )
    assert references.best_static([row("healthy", "static", 0.7, seed) for seed in range(5)] + rows) == {
        "ring8": {"whole": {"score": 0.7, "setting": "static", "seeds": 5}}
    }


def test_overhead_is_the_median_over_pairs_that_ran():
    """By hand: 1.2, 1.5, 3 and 2; and no pair of a failure, of an inherited row, or of a cell that one arm lacks."""
    plain = dict(zip(("healthy", "minimax", "ten D steps", "D forgets"), (10.0, 20.0, 50.0, 16.0), strict=True))
    steered = dict(zip(plain, (12.0, 30.0, 150.0, 32.0), strict=True)) | {"tiny data": 900.0}
    rows = [row(name, "autopilot", 0.7, seconds=value) for name, value in steered.items()]
    rows += [row("copies", arm, 0.7, seconds=value) for arm, value in (("autopilot", 90.0), ("untouched", 0.0))]
    rows += [row("G is shaken", "untouched", 0.7, seconds=5.0), row("G is shaken", "r1 2", 0.6, seconds=10.0)]
    rows += [dataclasses.replace(row("G is shaken", "autopilot", 0.0, seconds=1.0), error="lost")]
    rows += [row(name, "r1", 0.8, seconds=10.0) for name in ("healthy", "ten D steps")]  # both are that healthy run
    rows += [row(name, "favourites", 0.5, seconds=40.0) for name in plain]  # one run for all four
    rows += [row(name, "untouched", 0.8, seconds=value) for name, value in plain.items()]
    text = table.table(rows, {"ring8": {"whole": 0.80, "tiny": 0.80, "copies": 0.80}})
    found = {line.split(" | ")[1]: line.split(" | ")[-1].rstrip(" |") for line in text.splitlines()[2:-2]}
    assert found == {"autopilot": "1.8 (1.4 to 2.2)", "untouched": "", "r1": "", "r1 2": "2.0", "favourites": "4.0"}


def test_what_a_part_is_worth_is_told_of_the_cells_that_it_moved_in():
    told = {"healthy": (0.80, 0.80, {"governor": 2}), "ten D steps": (0.78, 0.40, {"governor": 1, "holds": 3})}
    rows = []
    for scenario, (whole, without, turned) in told.items():
        rows.append(dataclasses.replace(row(scenario, "autopilot", whole), turned=turned))
        rows.append(dataclasses.replace(row(scenario, "autopilot without holds", without), turned={"governor": 1}))
    for arm in ("autopilot", "autopilot without holds"):  # of report only
        rows.append(dataclasses.replace(row("batch 8", arm, 0.1), turned={"holds": 1}))
    text = table.parts(rows, {"ring8": {"whole": 0.80}}, "ring8")
    assert "| holds | 1 of 2 | 0.97, 0.50 | 1, 0 | 0.50 (ten D steps) |" in text and text.count("\n") == 3
    assert table.parts(rows[:1], {"ring8": {"whole": 0.80}}, "ring8") == ""
    assert "without" not in table.table(rows, {"ring8": {"whole": 0.80}})
    assert "without" not in table.by_scenario(rows, {"ring8": {"whole": 0.80}}, "ring8")


def test_the_chart_has_a_dot_for_each_cell():
    rows = [row("healthy", "untouched", 0.8), row("minimax", "untouched", 0.7), row("healthy", "autopilot", 0.82)]
    drawn = table.chart(rows, {"ring8": {"whole": 0.80}})
    assert drawn.count('class="seed"') == 3 + 1  # and the legend's
    assert table.chart([*rows, row("batch 8", "untouched", 0.3)], {"ring8": {"whole": 0.80}}) == drawn  # report only
    assert "control: untouched" in drawn and "seed 1: 0.875" in drawn
    many = [row("healthy", "untouched", 0.8, seed) for seed in range(6)]
    for number, charted in ((2, False), (3, True)):
        tried = [row("healthy", "r1", 0.7, seed) for seed in range(number)]
        assert ("control: r1" in table.chart(many + tried, {"ring8": {"whole": 0.80}})) == charted


def test_twins_leave_a_part_out(points):
    arm = ARMS["autopilot without governor"]
    full = settings.check(arm.applied(SMALL))
    config = adapter.configured(full, adapter.as_dataset(points, (2,)), 0, arm.without)
    assert config.controller == "autopilot without governor"
    with pytest.raises(InputError, match="no part 'gouvernor'"):
        adapter.steered(full, points, 0, 3, without=("gouvernor",))


def test_a_twin_inherits_the_row_of_a_run_that_its_part_turned_nothing_in(tmp_path, monkeypatch):
    wanted = bench.cells(
        ["ring8"], ["healthy"], ["autopilot without governor", "autopilot without holds", "autopilot"], [0]
    )
    assert wanted[0].arm == "autopilot"
    whole = dataclasses.replace(row("healthy", "autopilot", 0.8, moves=3), turned={"governor": 2, "choice": 1})
    ran = []

    def work(cell, record=None):
        ran.append(cell.arm)
        return whole if cell.arm == "autopilot" else row("healthy", cell.arm, 0.5)

    class Inline(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, jobs, **context):
            super().__init__(jobs)

    monkeypatch.setattr(bench, "run", work)
    monkeypatch.setattr(bench, "ProcessPoolExecutor", Inline)
    rows = {found.arm: found for found in bench.bench(wanted, tmp_path, say=lambda line: None)}
    assert ran == ["autopilot", "autopilot without governor"]
    assert rows["autopilot without holds"] == dataclasses.replace(whole, arm="autopilot without holds")
    assert rows["autopilot without governor"].score == 0.5
    old = {whole.cell: dataclasses.replace(whole, turned=None)}  # of a file that does not tell who turned what
    assert bench.inherited(dataclasses.replace(whole.cell, arm="autopilot without holds"), old) is None


def test_no_more_processes_are_made_than_there_are_cells(tmp_path, monkeypatch):
    made = []

    class Inline(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, jobs, **context):
            made.append(jobs)
            super().__init__(jobs)

    monkeypatch.setattr(bench, "run", lambda cell, record=None: row("healthy", cell.arm, 0.5, cell.seed))
    monkeypatch.setattr(bench, "ProcessPoolExecutor", Inline)
    wanted = bench.cells(["ring8"], ["healthy"], ["untouched"], [0, 1])
    assert len(bench.bench(wanted, tmp_path, jobs=10**30, say=lambda line: None)) == 2 and made == [2]


def test_a_fixed_setting_that_a_scenario_has_already_inherits_the_untouched_row(tmp_path):
    known = {found.cell: found for found in (row("healthy", "untouched", 0.8), row("ten D steps", "untouched", 0.1))}

    def asked(scenario, arm):
        return bench.inherited(Cell("ring8", scenario, arm, 0), known)

    assert asked("healthy", "one D step") == dataclasses.replace(row("healthy", "untouched", 0.8), arm="one D step")
    assert asked("healthy", "r1").score == 0.8  # ring8 has R1 of .1
    assert asked("ten D steps", "one D step").score == 0.8  # the healthy run
    assert asked("healthy", "r1 2") is None and asked("healthy", "autopilot") is None  # another run
    assert asked("healthy", "untouched") is None  # not of itself
    assert asked("minimax", "one D step") is None  # whose untouched run is not done
    assert bench.cells(["ring8"], ["healthy"], ["one D step", "untouched"], [0])[0].arm == "untouched"


def test_what_an_arm_ignores_makes_no_other_run():
    known = {found.cell: found for found in (row("healthy", "favourites", 0.7), row("minimax", "static", 0.6))}

    def asked(scenario, arm, seed=0):
        return bench.inherited(Cell("ring8", scenario, arm, seed), known)

    assert asked("D's rate x10", "favourites") == row("D's rate x10", "favourites", 0.7)
    assert asked("beta1 0.9", "favourites").score == asked("initialisation x4", "favourites").score == 0.7
    assert asked("R1 of 0", "favourites").score == 0.7  # it brings its own
    for scenario in ("tiny data", "D forgets", "D four times as wide"):
        assert asked(scenario, "favourites") is None
    assert asked("D's rate x10", "favourites", seed=1) is None
    assert asked("healthy", "static").score == asked("beta1 0.9", "static").score == 0.6  # its loss is another
    assert asked("D's rate x10", "static") is None  # it keeps the rates


def test_a_part_that_turns_nothing_changes_no_bit(points):
    full = settings.check(SMALL | {"updates": 120, "lr_d": 0.2, "balance": "act"})
    whole, moves = adapter.steered(full, points, 0, 20)
    turned = {move.loop.rpartition(": ")[2] for move in moves}
    assert {"rates", "governor"} <= turned < set(PARTS)
    for part in set(PARTS) - turned:
        assert (adapter.steered(full, points, 0, 20, without=(part,))[0] == whole).all(), part
    assert (adapter.steered(full, points, 0, 20, without=("rates",))[0] != whole).any()
