"""What is taken for granted of a family is taken back where its logs refute it; layouts as its sources write them."""

import gzip
import json
import math
import random

import pytest
from tensorboardX import SummaryWriter

from equipoise.diagnosis import Severity, diagnose
from equipoise.diagnosis.history import History
from equipoise.diagnosis.recordings import most_like
from equipoise.errors import InputError
from equipoise.logs import Told, open_log
from equipoise.logs.judge import judge


def write(folder, series, steps=range(0, 1000, 50)):
    """An event file in a folder: name to value, or to a function of the step."""
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            for name, value in series.items():
                writer.add_scalar(name, value(step) if callable(value) else value, step)
    return folder


def nvidia(folder, d=1.3, g=0.8, looks=20, options=None, **more):
    """A folder of NVIDIA's code, looks 4 kimg apart."""
    folder.mkdir()
    lines = []
    for look in range(looks):
        told = {"Loss/D/loss": d, "Loss/G/loss": g, "Loss/scores/real": 0.4, "Loss/scores/fake": -0.4,
                "Loss/signs/real": 0.4, "Progress/kimg": 4.0 * look, "Progress/augment": 0.0} | more  # fmt: skip
        lines.append(json.dumps({name: {"num": 8, "mean": mean, "std": 1.0} for name, mean in told.items()}))
    (folder / "stats.jsonl").write_text("\n".join(lines))
    if options is not None:
        (folder / "training_options.json").write_text(json.dumps({"training_set_kwargs": {}, **options}))
    return folder


def said(history):
    return " | ".join(history.facts["remarks"])


# --- a family that is known, of which nothing can be told


def test_a_known_log_whose_loss_is_not_known_asks_for_it(tmp_path):
    write(tmp_path / "errD", {"loss": 1.9})
    write(tmp_path / "errG", {"loss": 0.1})
    with pytest.raises(InputError, match=r"is a log of mimicry: which loss was trained is not in the log.*say --loss$"):
        open_log(tmp_path)
    assert set(open_log(tmp_path, Told(loss="hinge")).signals) == {"loss_D"}


def vqgan(path, disc=0.9, weight=2.0, start=0, last=20_000):
    """Lightning's CSV of taming-transformers; `weight` may be a function of the step."""
    names = ("rec_loss", "d_weight", "disc_factor", "g_loss", "disc_loss")
    lines = [",".join(["epoch", "step", *(f"train/{name}_step" for name in names)])]
    for step in range(0, last, 200):
        on = step >= start
        numbers = (0.3 - step / 1e6, weight(step) if callable(weight) else weight, float(on), 0.1, disc * on)
        lines.append(",".join(map(str, (step // 5000, step, *numbers))))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_discriminator_that_has_not_started_is_said_to_wait(tmp_path):
    with pytest.raises(InputError, match=r"is a log of taming: train/disc_factor is 0 throughout: as long as"):
        open_log(vqgan(tmp_path / "metrics.csv", start=10**6))
    assert "has not started" not in said(open_log(vqgan(tmp_path / "metrics.csv", start=10_000)))


# --- an adaptive weight makes up for a gradient that shrinks


@pytest.mark.parametrize(("rate", "found"), [(4.0, [("gradient-vanishes", Severity.NOTE)]), (-4.0, []), (0.0, [])])
def test_a_weight_that_grows_is_no_gradient_that_is_gone(tmp_path, rate, found):
    """d_weight times the adversarial gradient is as large as that of the reconstruction, whatever becomes of either."""
    path = vqgan(tmp_path / "metrics.csv", weight=lambda step: 10 * math.exp(rate * min(step / 5000, 3.0)))
    judged = judge(path)
    assert [(one.name, one.severity) for one in judged.verdict.findings] == found and judged.exit_code == 0


def test_without_one_it_is_gone():
    gone = History({"pull": [(float(n), 1.0 if n < 10 else 1e-4) for n in range(40)]})
    assert {one.name: one.severity for one in diagnose(gone).findings} == {"gradient-vanishes": Severity.WARNING}
    gone.facts["adaptive"] = True
    assert {one.name: one.severity for one in diagnose(gone).findings} == {"gradient-vanishes": Severity.NOTE}
    gone.signals["gradient_G"] = gone.signals["pull"]  # G itself has lost it
    assert {one.name: one.severity for one in diagnose(gone).findings} == {"gradient-vanishes": Severity.WARNING}


# --- which loss it is: other programs write StyleGAN's names


@pytest.mark.parametrize(
    ("kwargs", "loss"),
    [
        ({"class_name": "training.loss.StyleGAN2Loss", "r1_gamma": 6.5}, "non-saturating"),
        ({"class_name": "training.loss.ProjectedGANLoss"}, "hinge"),
        ({"class_name": "training.loss.ProjectedGANLoss", "pl_weight": 2.0}, None),  # StyleGAN-XL adds heads up
        ({"class_name": "training.loss.R3GANLoss"}, "rpgan"),
        ({"class_name": "training.loss.OtherLoss"}, None),
    ],
)
def test_the_loss_that_the_options_name_is_the_one(tmp_path, kwargs, loss):
    history = open_log(nvidia(tmp_path / "run", d=1.9, options={"loss_kwargs": kwargs}))
    assert history.facts["loss"] == loss
    ideal = {"non-saturating": 1.3862943611, "hinge": 2.0, "rpgan": 0.69314718056}.get(loss)
    assert history.values("loss_D") == (pytest.approx([1.9 / ideal] * 20) if ideal else [])
    added = "pl_weight" in kwargs  # no loss that is told would put their sum in relation
    assert "taken to be" not in said(history) and ("say --loss" in said(history)) == (loss is None and not added)
    assert ("several discriminators are added up" in said(history)) == added
    told = open_log(tmp_path / "run", Told(loss="rpgan"))
    assert told.facts["loss"] == "rpgan" and told.has("loss_D") == (not added)


def test_a_loss_below_0_is_not_the_non_saturating_one(tmp_path):
    history = open_log(nvidia(tmp_path / "run", d=1.9, g=-0.3))
    assert history.facts["loss"] is None and set(history.signals) == {"gap", "sign_real", "augmentation"}
    assert "Loss/G/loss goes below 0, which non-saturating never does" in said(history)
    assert "taken to be" not in said(history)
    assert open_log(tmp_path / "run", Told(loss="hinge")).values("loss_D")[0] == pytest.approx(0.95)
    assert open_log(nvidia(tmp_path / "other")).facts["loss"] == "non-saturating"


ROW = "(epoch: {}, iters: 100, time: 0.1, data: 0.002) G_GAN: {} G_L1: 20.0 D_real: 0.25 D_fake: 0.25 \n"
OPTIONS = "----------------- Options ---------------\n{:>25}: {:<30}{}\n{:>25}: {:<30}\n"


@pytest.mark.parametrize(("mode", "loss", "value"), [("lsgan", "least-squares", 1.0), ("wgangp", "wasserstein", None),
                                                     ("vanilla", "non-saturating", 0.5 / 1.3862943611),
                                                     ("other", None, None)])  # fmt: skip
def test_pix2pix_says_in_its_options_which_loss_it_has(tmp_path, mode, loss, value):
    (tmp_path / "loss_log.txt").write_text("".join(ROW.format(epoch, 1.2) for epoch in range(1, 9)))
    (tmp_path / "train_opt.txt").write_text(OPTIONS.format("gan_mode", mode, "\t[default: vanilla]", "gpu_ids", "0"))
    history = open_log(tmp_path)
    assert history.facts["loss"] == loss and "taken to be" not in said(history)
    assert history.values("loss_D") == ([] if value is None else pytest.approx([value] * 8))
    assert open_log(tmp_path, Told(loss="hinge")).facts["loss"] == "hinge"


def test_pix2pix_with_scores_below_0_is_not_taken_for_the_default(tmp_path):
    (tmp_path / "loss_log.txt").write_text("".join(ROW.format(epoch, -1.2) for epoch in range(1, 9)))
    history = open_log(tmp_path)
    assert set(history.signals) == {"reconstruction"} and "G_GAN goes below 0" in said(history)


# --- coqui's names end as RVC's


def test_coqui_is_not_taken_for_rvc(tmp_path):
    names = {f"TrainIterStats/loss_disc_real_{head}": 0.25 for head in range(6)}
    names |= {"TrainIterStats/loss_disc": 3.0, "TrainIterStats/loss_gen": 1.5, "TrainIterStats/loss_mel": 20.0}
    history = open_log(write(tmp_path, names | {"TrainEpochStats/avg_loss_disc": 3.0, "EvalStats/avg_loss_mel": 21.0}))
    assert history.facts["source"] == "coqui" and history.facts["anchored"]
    assert history.values("loss_D") == pytest.approx([1.0] * 20)  # blind discriminators say 0.5: six times a half
    assert history.values("loss_G") == pytest.approx([1.0] * 20)
    del names["TrainIterStats/loss_disc_real_0"]
    history = open_log(write(tmp_path / "unknown", names))
    assert set(history.signals) == {"reconstruction"}  # how many there are is not told


# --- StudioGAN's text log


def test_studiogan_in_text(tmp_path):
    path = tmp_path / "run.log"
    row = ("[INFO] 2021-02-21 01:23:05 > Step: {:>6} Progress: 1.0% Elapsed: 0:04:12 Gen_loss: 0.41 Dis_loss: {} "
           "Cls_loss: N/A Topk:  N/A aa_p: N/A \n")  # fmt: skip
    score = "[INFO] 2021-02-21 01:25:05 > FID score (Step: {}, Using train moments): {}\n"
    text = "[INFO] 2021-02-21 01:20:05 > Run name : CIFAR10-DCGAN-train\n"
    for step in range(100, 2001, 100):
        text += row.format(step, 1.5) + (score.format(step, 90.0 - step / 100) if step % 500 == 0 else "")
    path.write_text(text)
    history = open_log(path, Told(loss="hinge", batch=10))
    assert history.facts["source"] == "studiogan-text" and history.values("loss_D") == pytest.approx([0.75] * 20)
    assert history.signals["frechet"] == [(5.0, 85.0), (10.0, 80.0), (15.0, 75.0), (20.0, 70.0)]
    assert set(open_log(path).signals) == {"frechet"} and "say --loss" in said(open_log(path))


# --- what logits and losses cannot tell


def test_losses_alone_are_likened_to_no_recording(tmp_path):
    """Blind or balanced: they are the same, and "healthy, 100 %" would be said of either."""
    blind = nvidia(tmp_path / "run", d=1.386, g=0.693, **{"Loss/scores/real": 0.0, "Loss/scores/fake": 0.0})
    assert judge(blind).verdict.most_like == ""
    seen = open_log(blind)
    assert most_like(seen) == ""
    seen.signals |= {"energy": [(at, 0.02) for at, _ in seen.signals["gap"]], "diversity": seen.signals["loss_D"]}
    assert "healthy, 100 %" in most_like(seen)


def test_a_loss_above_its_ideal_is_not_called_an_error_of_the_discriminator():
    """A penalty or a class term may be in it."""
    (found,) = diagnose(History({"loss_D": [(float(n), 1.6 + n % 3 / 10) for n in range(20)]})).findings
    assert found.severity == Severity.NOTE and "it errs more often, or more is added to it" in found.summary


@pytest.mark.parametrize(("count", "few"), [(1000, True), (12_000, False)])
def test_where_few_data_may_be_known_by_heart_that_comes_before_lower_rates(tmp_path, count, few):
    options = {"training_set_kwargs": {"max_size": count}}
    run = nvidia(tmp_path / "run", d=0.05, g=5.0, looks=40, options=options, **{"Loss/signs/real": 0.97})
    found = {one.name: one for one in judge(run).verdict.findings}["discriminator-overpowers"]
    assert ("may be known by heart" in found.advice[0]) == few and found.severity == Severity.WARNING


# --- lines of text


def test_a_word_before_loss_belongs_to_the_name(tmp_path):
    path = tmp_path / "train.log"
    row = "INFO loss: 2.0 step: {} vae loss: 0.9 - discr loss: 1.8 Generator Loss = 0.5\n"
    path.write_text("".join(map(row.format, range(9))))
    history = open_log(path, Told(loss="hinge", columns={"discr loss": "loss_D"}))
    assert history.values("loss_D") == [0.9] * 9 and history.facts["unused"] == ["Generator Loss", "loss", "vae loss"]


def test_losses_in_lines_of_their_own_have_the_time_of_the_line_before(tmp_path):
    """As LlamaGen prints them; a name that stands beside the time elsewhere keeps to those lines."""
    path = tmp_path / "log.txt"
    path.write_text("".join(
        f"[2024-06-17 07:01:02] (Generator) rec_loss: {0.05 - n / 1e3:.4f}, vq_loss: 0.01\n"
        f"[2024-06-17 07:01:02] (Discriminator) discriminator_adv_loss: 0.498, logits_real: -0.1318\n"
        f"[2024-06-17 07:01:02] (step={100 * n:07d}) Train Loss: {n}, Train Steps/Sec: 1.2\n"
        "[2024-06-17 07:01:02] (validation) Train Loss: 99, rec_loss_val: 1.0\n"
        for n in range(1, 10)
    ))  # fmt: skip
    columns = {"2*discriminator_adv_loss": "loss_D", "rec_loss": "reconstruction", "Train Loss": "churn"}
    history = open_log(path, Told(loss="hinge", anchored=True, columns=columns))
    assert [at for at, _ in history.signals["loss_D"]] == [100.0 * n for n in range(1, 9)]
    assert history.values("loss_D") == pytest.approx([0.498] * 8)
    assert history.signals["churn"] == [(100.0 * n, n) for n in range(1, 10)]


def test_a_loss_of_the_discriminator_that_runs_away_is_no_blind_one():
    """Its advice would be to raise D's rate."""
    grown = History({"loss_D": [(float(n), 1.0 + n % 3 / 10 if n < 20 else 10.0 ** (n / 8)) for n in range(40)]})
    assert {one.name: one.severity for one in diagnose(grown).findings} == {"gradient-explodes": Severity.WARNING}
    assert "logits, are out of all proportion" in diagnose(grown).findings[0].summary


def test_a_handful_of_looks_is_no_ground_for_a_warning():
    """As of the first ticks of a run whose batch is not known."""
    for looks, severity in ((4, Severity.NOTE), (5, Severity.WARNING)):
        ahead = History({"loss_D": [(4.0 * n, 0.05 - n / 1000) for n in range(looks)]})
        assert {one.name: one.severity for one in diagnose(ahead).findings} == {"discriminator-overpowers": severity}


@pytest.mark.parametrize(
    ("distances", "found"),
    [
        ([300.0 + n % 3 for n in range(20)], {"not-converging": Severity.NOTE}),
        ([200 - 15 * n if n < 12 else 20 + n % 3 for n in range(40)],
         {"nothing-more-to-gain": Severity.NOTE, "healthy": Severity.GOOD}),
        ([300.0 + n % 3 for n in range(9)], {}),
    ],
)  # fmt: skip
def test_a_distance_that_never_fell_has_nothing_gained(distances, found):
    """Flat at 300 from the beginning on was called its end, with the advice to keep a snapshot."""
    history = History({"frechet": [(40.0 * n, float(value)) for n, value in enumerate(distances)]})
    assert {one.name: one.severity for one in diagnose(history).findings} == found


def noisy(sigma, seed, looks=60):
    draw = random.Random(seed)
    return [(float(n), math.exp(draw.gauss(0.0, sigma))) for n in range(looks)]


def test_single_batches_that_vary_are_not_called_worse_than_their_best():
    """The best of sixty looks is a lucky one; a fifth of such logs were warned of."""
    for signal, sigma, facts in (("reconstruction", 0.2, {"anchored": True}), ("frechet", 0.05, {})):
        found = [diagnose(History({signal: noisy(sigma, seed)}, facts)) for seed in range(50)]
        assert sum(verdict.severity >= Severity.WARNING for verdict in found) <= 2
        worse = noisy(sigma, 0)[:42] + [(at, 2 * value) for at, value in noisy(sigma, 0)[42:]]
        assert diagnose(History({signal: worse}, facts)).severity == Severity.WARNING


def losses(path, value, entries=20_000):
    """A table of rounded losses, one an entry."""
    path.write_text("step,d\n" + "".join(f"{step},{value(step):.2f}\n" for step in range(entries)))
    return judge(path, Told(loss="non-saturating", columns={"d": "loss_D"}))


def test_the_medians_of_many_rounded_losses_are_the_same_in_a_run_that_lives(tmp_path):
    alive = losses(tmp_path / "alive.csv", lambda step: 1.39 + 0.02 * math.sin(step * step))
    assert len(set(alive.history.values("loss_D"))) == 1 and not alive.verdict.findings
    dead = losses(tmp_path / "dead.csv", lambda step: 1.39 + 0.02 * math.sin(step * step) * (step < 10_000))
    assert [one.name for one in dead.verdict.findings] == ["dead-run"]


def test_of_two_discriminators_the_one_that_died_is_named():
    looks = {
        "A/loss_D": [(float(n), 0.8) for n in range(60)],
        "B/loss_D": [(float(n), 0.7 + n % 2 / 9) for n in range(60)],
    }
    history = History({**looks, "loss_D": looks["B/loss_D"]}, {"moves": ["B/loss_D", "loss_D"]})
    assert [(one.name, one.player) for one in diagnose(history).findings] == [("dead-run", "A")]
    history.facts["moves"] = ["A/loss_D", "B/loss_D", "loss_D"]
    assert diagnose(history).findings == ()


# --- what is no log


def test_what_is_packed_or_no_text_is_refused_in_a_sentence(tmp_path):
    row = b"step,churn\n1,0.5\n"
    for name, content, match in (
        ("log.csv.gz", gzip.compress(row), r"log\.csv\.gz is packed.*unpack it"),
        ("G.pth", b"PK\x03\x04" + bytes(20), r"G\.pth is packed, as archives and checkpoints are"),
        ("pic.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"pic\.png is no text"),
        ("pic.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"pic\.csv is no text"),
        ("empty.csv", b"", r"no number could be read in .*empty\.csv\. A table"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=match):
            open_log(tmp_path / name)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "stats.jsonl.gz").write_bytes(gzip.compress(row))
    with pytest.raises(InputError, match=r"and 0 tables or logs .*; unpack stats\.jsonl\.gz first"):
        open_log(tmp_path / "packed")


def test_zeros_at_the_end_of_a_log_that_a_crash_left_are_passed_over(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"step,churn\n1,0.5\n2,0.6\n" + bytes(64))
    assert open_log(path).signals == {"churn": [(1.0, 0.5), (2.0, 0.6)]}
