"""Augmenting a small labelled set: who sees which images, what is kept out, what is chosen by what, and the verdict."""

import json
import sys

import numpy as np
import pytest

from equipoise import cli
from equipoise.apps.augment import arms, contest, flow, material, pages, rows, sift, split, synthesis, verdict
from equipoise.apps.augment.arms import ARMS, BOTH, CLASSICAL, REAL, SYNTHETIC, Setting
from equipoise.data import from_arrays, open_dataset
from equipoise.errors import InputError, Interrupted
from equipoise.report.console import ProgressLine
from small_runs import after

NAMES = [arm.name for arm in ARMS]
SMALL = ("network.width=16", "batch=16")


@pytest.fixture(scope="module")
def digits():
    """Some real digits of three classes, which have 20, 12 and 8 images: uint8 [40, 1, 8, 8] and labels."""
    whole = open_dataset("digits:train")
    chosen = np.concatenate([np.flatnonzero(whole.labels == label)[:n] for label, n in ((0, 20), (1, 12), (2, 8))])
    return whole.images[chosen], whole.labels[chosen]


@pytest.fixture
def source(digits, tmp_path):
    """The same as a file."""
    np.savez(tmp_path / "few.npz", images=digits[0], labels=digits[1])
    return tmp_path / "few.npz"


def asked(source, **changes):
    settings = {"kimg": 0.4, "updates": 4, "seeds": 2, "amounts": (2, 6), "device": "cpu", "changes": SMALL} | changes
    return flow.Asked(str(source), **settings)


def keys(images):
    return {image.tobytes() for image in images}


# ------------------------------------------------------------------------------------------------ the split


def test_every_class_is_on_every_side_in_proportion(digits):
    found = split.divide(from_arrays(*digits), seed=0)
    counts = [np.bincount(digits[1][side], minlength=3).tolist() for side in found]
    assert counts == [[12, 8, 4], [4, 2, 2], [4, 2, 2]]  # a fifth each: 4, 2.4 and 1.6
    assert sorted(np.concatenate(found)) == list(range(40))
    assert len(split.divide(from_arrays(*digits), seed=0, test=False).test) == 0


def test_near_duplicates_are_on_one_side(digits):
    images, labels = digits
    twins = np.concatenate([images, images])  # every image twice
    dataset = from_arrays(twins, np.tile(labels, 2))
    sides = [keys(twins[rows]) for rows in split.divide(dataset, seed=1)]
    assert all(sides)
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_many_copies_of_one_image_are_trained_on(digits):
    """Twelve alike of class 1 do not fit into its fifth of 23 images; single ones take their place."""
    images, labels = digits
    copies = np.concatenate([images, np.repeat(images[20:21], 11, axis=0)])
    for seed in range(5):
        found = split.divide(from_arrays(copies, np.r_[labels, np.ones(11, int)]), seed)
        assert {20, *range(40, 51)} <= set(found.training)
        assert [np.bincount(np.r_[labels, np.ones(11, int)][side])[1] for side in found[1:]] == [5, 5]


def test_test_images_that_repeat_labelled_ones_are_left_out(digits):
    images, labels = digits
    other = open_dataset("digits:test")
    planted = from_arrays(np.concatenate([other.images[:30], images[:5]]), np.r_[other.labels[:30], labels[:5]])
    assert split.unseen(from_arrays(images, labels), planted).tolist() == list(range(30))


def test_rare_images_are_repeated_until_the_classes_are_even(digits):
    chosen = arms.even(digits[1], 3)
    assert np.bincount(digits[1][chosen]).tolist() == [20, 20, 20]
    assert set(chosen) == set(range(40))


# ------------------------------------------------------------------------------------------------ synthetic images


def test_rare_classes_get_more():
    assert synthesis.wanted(np.repeat([0, 1, 2], [5, 3, 1]), 3, amount=10).tolist() == [10, 12, 14]


def test_planted_copies_are_left_out():
    real = open_dataset("digits:train")
    training, heldout, fresh = (split.part(real, np.arange(low, low + 200)) for low in (0, 200, 400))
    copied = sift.finder(training, heldout)
    noise = np.random.default_rng(0).integers(-4, 5, training.images[:40].shape)
    copies = (training.images[:40].astype(int) + noise).clip(0, 255).astype(np.uint8)
    assert copied(copies).mean() > 0.9
    assert copied(fresh.images).mean() < 0.05


def test_copies_are_dropped_and_the_likeliest_kept(monkeypatch):
    """Image k of a class is grey level k: levels below 3 are called copies, and likelier the brighter."""
    monkeypatch.setattr(synthesis, "latent_dim", lambda generator: 1)
    monkeypatch.setattr(
        synthesis.samples,
        "generate",
        lambda g, latents, labels: np.arange(len(latents)).reshape(-1, 1, 1, 1) / 127.5 - np.ones((1, 1, 8, 8)),
    )
    pool = synthesis.synthesise(
        None,
        np.array([5, 2]),
        0,
        lambda images, labels: images[:, 0, 0, 0] * 1.0,
        lambda images: images[:, 0, 0, 0] < 3,
    )
    assert pool.images[:, 0, 0, 0].tolist() == [
        5,
        6,
        7,
        8,
        9,
        3,
    ]  # of 10 and 4 candidates; of the last only one is left
    assert pool.labels.tolist() == [0] * 5 + [1]
    assert (pool.candidates, pool.copies) == (14, 6)
    some = synthesis.some(pool, np.array([2, 9]), seed=0)
    assert np.bincount(some.labels).tolist() == [2, 1]


def test_variety_is_that_within_classes():
    level = np.array([0, 20, 200, 240], np.uint8)[:, None, None, None]  # two classes, far apart, 20 and 40 wide
    real = split.Part(level * np.ones((1, 1, 2, 2), np.uint8), np.array([0, 0, 1, 1]))
    made = split.Part(np.array([0, 0, 200, 220], np.uint8)[:, None, None, None] + real.images * 0, real.labels)
    assert synthesis.variety(real, real, 2) == pytest.approx(1)
    assert synthesis.variety(made, real, 2) == pytest.approx(np.sqrt((0 + 200) / (200 + 800)))


# ------------------------------------------------------------------------------------------------ the arms


def test_every_arm_chooses_among_as_many_settings():
    found = {arm.name: arms.settings(arm, (4, 8, 16)) for arm in ARMS}
    assert {len(set(chosen)) for chosen in found.values()} == {6}
    assert {setting.amount for setting in found[SYNTHETIC.name]} == {4, 8, 16}
    assert {(min(s.rate for s in c), max(s.rate for s in c)) for c in found.values()} == {(1e-3, 4e-3)}


def test_what_each_arm_is_trained_on(digits, monkeypatch):
    seen = []
    monkeypatch.setattr(arms, "fit_classifier", lambda *given, **how: seen.append((given, how)) or Nobody())
    training = split.Part(*digits)
    pool = synthesis.Pool(np.full((90, 1, 8, 8), 7, np.uint8), np.repeat([0, 1, 2], 30), np.zeros(90), 90, 0)
    for arm in ARMS:
        setting = Setting(4 if arm.synthetic else 0, 1e-3)
        arms.correct(arm, setting, training, pool, training, classes=3, flips=False, updates=9, seed=1)
    made = [int((given[0] == 7).all(axis=(1, 2, 3)).sum()) for given, _ in seen]
    assert made == [0, 0, 3 * 4 + 8 + 12, 3 * 4 + 8 + 12]
    assert [np.bincount(given[1]).tolist() for given, _ in seen] == [[20] * 3, [20] * 3, [24] * 3, [24] * 3]
    assert len({how["change"] for _, how in seen}) == 2
    assert {(how["updates"], how["batch"], how["seed"]) for _, how in seen} == {(9, arms.BATCH, 1)}


class Nobody:
    """A classifier that calls everything 0."""

    def predict(self, images):
        return np.zeros(len(images), np.int64)


def test_classical_changes_are_small_and_flip_only_where_that_is_safe():
    import torch

    from equipoise.apps.augment import classical

    ramp = torch.linspace(-1, 1, 16).expand(200, 1, 16, 16)  # dark on the left, bright on the right
    source = torch.Generator()
    rises = [(change(ramp, source)[..., 12] > change(ramp, source)[..., 3]).float().mean(dim=(1, 2)) for change in (
        classical.moved, classical.moved_or_flipped)]  # fmt: skip
    assert rises[0].min() > 0.9
    assert 0.35 < rises[1].mean() < 0.65
    assert (classical.moved(ramp, source) - ramp).abs().mean() < 0.3
    assert classical.unchanged(ramp, source) is ramp


# ------------------------------------------------------------------------------------------------ the contest


def planted_contest(monkeypatch, digits, skill):
    """A contest whose classifiers recognise a share `skill(arm, setting, stage)` of the images, and what was asked."""
    images, labels = digits
    part = split.Part(images, labels)
    test = split.Part(255 - images, labels)
    data = material.Material("few", "", ("0", "1", "2"), False, part, part, test, 0)
    pool = synthesis.Pool(images, labels, np.zeros(40), 40, 0)
    calls = []

    def correct(arm, setting, training, pool, judged, *, seed, **rest):
        stage = "test" if judged is test else "validation"
        calls.append((stage, arm.name, setting, seed))
        return np.arange(40) < round(40 * skill(arm, setting, stage))

    monkeypatch.setattr(contest, "correct", correct)
    return contest.Contest(data, pool, (2, 6), updates=1, seeds=3), calls


def test_the_amount_is_chosen_on_validation_images_alone(monkeypatch, digits, tmp_path):
    """On test images the other amount would be the better one."""

    def skill(arm, setting, stage):
        return 0.9 if (setting.amount == 2) == (stage == "validation") else 0.5

    planted, calls = planted_contest(monkeypatch, digits, skill)
    outcome = planted.run(rows.Rows(tmp_path / "rows.jsonl"), lambda text: None, lambda: False)
    assert outcome.chosen[SYNTHETIC.name][0].amount == 2
    tested = [(arm, setting) for stage, arm, setting, _ in calls if stage == "test"]
    assert len(tested) == 4 * 3 and len(set(tested)) == 4  # one setting of each arm has met the test images
    assert not {seed for stage, *_, seed in calls if stage == "test"} & {s for st, *_, s in calls if st != "test"}
    assert outcome.tests[SYNTHETIC.name].mean() == 0.5


def test_what_has_a_row_is_not_fitted_again(monkeypatch, digits, tmp_path):
    planted, calls = planted_contest(monkeypatch, digits, lambda arm, setting, stage: 0.5)
    say, path = (lambda text: None), tmp_path / "rows.jsonl"
    with pytest.raises(Interrupted):
        planted.run(rows.Rows(path), say, after(8))
    assert len(calls) == 7
    path.write_text(path.read_text() + '{"fit": {"stage": "valid')  # cut off by a crash
    first = planted.run(rows.Rows(path), say, lambda: False)
    assert len(calls) == len(set(calls)) == 4 * 4 * contest.TUNING + 4 * 3
    again = planted.run(rows.Rows(path), say, lambda: False)
    assert len(calls) == 4 * 4 * contest.TUNING + 4 * 3
    assert all(np.array_equal(first.tests[name], again.tests[name]) for name in NAMES)


# ------------------------------------------------------------------------------------------------ the verdict


LABELS = np.repeat(np.arange(2), 200)


def decided(shares, seeds=5, spread=0.01, validation=None, extra=0):
    """The verdict where each arm recognises such a share of 400 test images, a little more or less by the seed."""
    tests = {}
    for number, (name, share) in enumerate(zip(NAMES, shares, strict=True)):
        order = np.random.default_rng(7).permutation(400)
        noise = spread * np.sin(5.0 * np.arange(seeds) + 2 * number)
        tests[name] = np.stack([order < 400 * (share + each) for each in noise])
    chosen = {
        n: (Setting(48 * (i > 1), 1e-3), v) for i, (n, v) in enumerate(zip(NAMES, validation or shares, strict=True))
    }
    return verdict.decide(chosen, tests, LABELS, ("cat", "dog"), extra)


def test_a_gain_is_told():
    found = decided((0.6, 0.7, 0.65, 0.8), extra=9)
    assert (found.use, found.effect, found.amount) == (True, "helps", 48)
    assert found.differences[0][:2] == (BOTH.name, CLASSICAL.name)
    assert found.differences[0].seeds.mean == pytest.approx(0.1, abs=0.01)
    assert found.sentences[0].startswith("Use them, 48 per class, and up to 9 more of rarer ones: ")
    assert "(real + classical) to 80." in found.sentences[0]


def test_a_loss_is_told():
    found = decided((0.7, 0.72, 0.6, 0.62))
    assert (found.use, found.effect) == (False, "hurts")
    assert found.sentences[0].startswith("Do not use them, they hurt: ")
    assert found.differences[0].seeds.mean == pytest.approx(-0.1, abs=0.01)


def test_noise_is_no_gain():
    found = decided((0.7, 0.7, 0.705, 0.7))
    assert (found.use, found.effect) == (False, "unclear")
    assert found.sentences[0].startswith("Do not use them, no gain is shown: ")


def test_a_gain_over_plain_training_alone_is_none():
    """Classical augmentation does as well: synthetic images help beside nothing, and are not recommended."""
    found = decided((0.6, 0.8, 0.8, 0.8), validation=(0.6, 0.8, 0.81, 0.8))
    assert not found.use
    assert [(d.more, d.than, d.sign) for d in found.differences] == [
        (SYNTHETIC.name, CLASSICAL.name, 0), (SYNTHETIC.name, REAL.name, 1), (BOTH.name, CLASSICAL.name, 0),
    ]  # fmt: skip


def test_the_arms_compared_are_chosen_by_validation_not_by_the_test():
    found = decided((0.9, 0.6, 0.5, 0.8), validation=(0.5, 0.6, 0.5, 0.6))
    assert found.differences[0][:2] == (BOTH.name, CLASSICAL.name)


def test_a_gain_on_few_test_images_is_not_believed():
    """Every seed recognises two of twenty images more: sure over the seeds, not over the images."""
    tests = {name: np.zeros((5, 20), bool) for name in NAMES}
    tests[SYNTHETIC.name][:, :2] = tests[BOTH.name][:, :2] = True
    chosen = {name: (Setting(4, 1e-3), 0.5) for name in NAMES}
    found = verdict.decide(chosen, tests, np.arange(20) % 2, ("cat", "dog"))
    assert found.differences[0].seeds.low == pytest.approx(0.1)
    assert found.effect == "unclear"


def test_one_seed_shows_nothing():
    assert decided((0.5, 0.5, 0.9, 0.9), seeds=1).effect == "unclear"


def test_classes_and_their_differences_by_hand():
    tests = {name: np.zeros((2, 4), bool) for name in NAMES}
    tests[BOTH.name][:] = [[1, 1, 0, 0], [1, 0, 0, 0]]
    chosen = {name: (Setting(4, 1e-3), 0.5 + 0.1 * (name in (BOTH.name, REAL.name))) for name in NAMES}
    found = verdict.decide(chosen, tests, np.array([0, 0, 1, 1]), ("cat", "dog"))
    assert [e.mean for e in found.results[BOTH.name].classes] == [0.75, 0.0]
    assert found.results[BOTH.name].accuracy.mean == 0.375
    assert [e.mean for e in found.classes] == [0.75, 0.0]
    assert found.classes[0].high - found.classes[0].mean == pytest.approx(12.7062 * 0.25)  # t of one degree of freedom


# ------------------------------------------------------------------------------------------------ the whole


def test_the_whole_and_no_test_image_in_training(source, digits, tmp_path, monkeypatch):
    shown = []
    fit = arms.fit_classifier
    monkeypatch.setattr(arms, "fit_classifier", lambda images, *a, **k: shown.append(images) or fit(images, *a, **k))
    out, line = tmp_path / "out", ProgressLine(quiet=True)
    wish = after(12)
    with pytest.raises(Interrupted, match="the GAN trained"):
        flow.augment(asked(source), out, line, wish)
    found = flow.augment(asked(source), out, line)

    data = material.prepare(str(source))
    secret = keys(data.test.images)
    assert len(secret) == 8 and secret <= keys(digits[0])
    assert len(shown) == 4 * 4 * contest.TUNING + 4 * 2
    assert not any(secret & keys(images) for images in shown)
    with np.load(out / "training.npz") as kept:
        assert keys(kept["images"]) == keys(data.training.images)
    assert json.loads((out / "gan" / "config.json").read_text())["source"] == str(out / "training.npz")

    report = json.loads((out / "report.json").read_text())
    assert report["verdict"]["use"] is found.use
    assert set(report["arms"]) == set(NAMES) and set(report["arms"]["real"]["classes"]) == {"0", "1", "2"}
    written = {name: len(list((out / "images" / name).glob("*.png"))) for name in "012"}
    assert written == {name: report["classes"][name]["synthetic"] for name in "012"}
    assert all(report["classes"][n]["training"] + written[n] == 12 + found.amount for n in "012")  # even
    assert len(report["tried"]) == 4 * 4
    assert found.sentences[0] in (out / "table.md").read_text() and (out / "grid.png").is_file()

    monkeypatch.setattr(contest, "correct", None)  # all is done: the same again fits nothing
    assert flow.augment(asked(source), out, line).sentences == found.sentences
    with pytest.raises(InputError, match="other options"):
        flow.augment(asked(source, seeds=3), out, line)


def test_a_generator_that_only_copies_is_refused(source, monkeypatch):
    data = material.prepare(str(source))
    monkeypatch.setattr(flow.runs, "load_network", lambda run: (None, None))
    monkeypatch.setattr(flow.sift, "judge", lambda run, heldout: None)
    empty = synthesis.Pool(data.training.images[:9], data.training.labels[:9] * 0, np.zeros(9), 18, 9)
    monkeypatch.setattr(flow.synthesis, "synthesise", lambda *given: empty)
    with pytest.raises(InputError, match="of 1, 2 copy training images"):
        flow.generated(flow.Path("run"), data, 2, 0)


def test_a_given_test_set_is_the_test(source):
    found = (
        material.prepare(str(source), test=str(source)) if False else material.prepare("digits:train", "digits:test")
    )
    assert len(found.test.labels) + found.repeated == 898
    assert len(found.training.labels) + len(found.validation.labels) == 899


def test_class_names_that_are_no_folder_names_become_numbers():
    assert pages.folders(("cat", "wild dog")) == ["cat", "wild dog"]
    assert pages.folders(("cat", "../dog")) == ["0000", "0001"]


# ------------------------------------------------------------------------------------------------ what cannot work


def test_bad_input(digits, source, tmp_path, monkeypatch, capsys):
    from equipoise.images import save_png

    folder = tmp_path / "pets"
    for index, image in enumerate(digits[0][:12]):
        (folder / f"class{index % 2}").mkdir(parents=True, exist_ok=True)
        save_png(folder / f"class{index % 2}" / f"{index}.png", image.transpose(1, 2, 0))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    np.savez(tmp_path / "bare.npz", images=digits[0])
    single = np.r_[np.arange(10), 20]  # one image of class 1
    np.savez(tmp_path / "single.npz", images=digits[0][single], labels=digits[1][single])

    def said(*arguments):
        monkeypatch.setattr(sys, "argv", ["equipoise", "augment", *map(str, arguments), "--quiet"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        return capsys.readouterr().err

    out = tmp_path / "new"
    assert "has no labels" in said(tmp_path / "bare.npz", "--out", out)
    assert "too few images (1" in said(tmp_path / "single.npz", "--out", out)
    assert "lies inside" in said(folder, "--out", folder / "synthetic")
    assert "nothing is ever overwritten" in said(source, "--out", tmp_path / "full")
    assert "holds vectors" in said("ring", "--out", out)
    assert "cannot be read; write for example" in said(source, "--out", out, "--amounts", "many")
    assert "whole numbers from 1" in said(source, "--out", out, "--amounts", "0,4")
    assert "whole numbers from 1" in said(source, "--out", out, "--updates", str(10**30))
    assert "give a test set with the same ones" in said(source, "--test", "digits:test", "--out", out)
    assert not out.exists()
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine" and len(list(folder.rglob("*"))) == 14


def test_a_damaged_row_is_named_and_one_cut_off_is_fitted_again(tmp_path):
    kept = rows.Rows(tmp_path / "rows.jsonl")
    fit = rows.Fit("test", "real", 0, 0.001, 0)
    kept.add(fit, np.array([True, False]))
    whole = kept.path.read_text()
    kept.path.write_text(whole + whole[:20])
    assert list(rows.Rows(kept.path).found) == [fit]
    kept.path.write_text("nonsense\n" + whole)
    with pytest.raises(InputError, match=r"line 1 of .* cannot be read"):
        rows.Rows(kept.path)
