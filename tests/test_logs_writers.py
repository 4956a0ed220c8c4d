"""Programs whose logs are read: the names, places and layouts that each writes, and that its losses are put right.

Each layout is that of the source that its family names; numbers are made up.
"""

import csv
import json
import math

import pytest
from tensorboardX import SummaryWriter

from equipoise.diagnosis import Severity
from equipoise.errors import InputError
from equipoise.logs import Told, columns_from, open_log
from equipoise.logs.judge import judge

STEPS = range(0, 8000, 100)
LOG2 = math.log(2)


def events(folder, series, steps=STEPS):
    """An event file in a folder: name to value, or to a function of the step that may return None."""
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            for name, value in series.items():
                told = value(step) if callable(value) else value
                if told is not None:
                    writer.add_scalar(name, told, step)
    return folder


def said(history):
    return " | ".join(history.facts["remarks"])


def last(history, *names):
    return pytest.approx([history.values(name)[-1] for name in names], rel=1e-3)


# --- tokenizers


def voken(start, weight=lambda step: 2.0 + step / 1e4):
    """Lightning's events of IBQ and Open-MAGVIT2: all is 0 until the discriminator starts."""
    on = {"d_weight": weight, "disc_factor": 1.0, "g_loss": 0.3, "unsacled_g_loss": 0.7, "disc_loss": 0.9}
    names = {name: lambda step, of=of: (of(step) if callable(of) else of) * (step >= start) for name, of in on.items()}
    names |= {"reconstruct_loss": lambda step: 0.2 if step < start else 0.1, "nll_loss": 0.4, "total_loss": 0.8}
    return {f"train/{name}_step": value for name, value in names.items()} | {"epoch": lambda step: step // 500}


def test_seed_voken(tmp_path):
    history = open_log(events(tmp_path / "run", voken(start=2000)))
    assert history.facts["source"] == "seed-voken" and history.facts["anchored"]
    assert history.signals["loss_D"][0] == (2000.0, pytest.approx(0.9))  # half of the sum: 1 where D is undecided
    assert history.values("reconstruction")[0] == 1.0 and history.values("pull")[0] == pytest.approx(1 / 2.2)
    assert "train/d_weight_step" not in history.facts["unused"]


def test_a_weight_that_is_set_is_no_reading(tmp_path):
    """`gen_loss_weight` in place of the adaptive one is logged under the same name."""
    history = open_log(events(tmp_path / "run", voken(start=0, weight=lambda step: 0.1)))
    assert set(history.signals) == {"loss_D", "reconstruction"}


def test_seed_voken_before_its_discriminator_starts(tmp_path):
    with pytest.raises(InputError, match="is a log of seed-voken: train/disc_factor is 0 throughout"):
        open_log(events(tmp_path / "run", voken(start=10**9)))


def llamagen(path, factor=0.5, start=400, loss=0.9):
    """log.txt: losses of both players, then the step in a line of its own; D's is logged times disc_weight."""
    text, stamp = "", "[\x1b[34m2024-06-17 07:01:02\x1b[0m]"
    for step in range(100, 2001, 100):
        weight = factor * (step >= start)
        text += (
            f"{stamp} (Generator) rec_loss: {0.08 if step < start else 0.04:.4f}, perceptual_loss: 0.2000, "
            f"vq_loss: 0.0100, commit_loss: 0.0020, entropy_loss: 0.0000, codebook_usage: 0.9700, "
            f"generator_adv_loss: {0.1 * weight:.4f}, disc_adaptive_weight: 1.0000, disc_weight: {weight:.4f}\n"
            f"{stamp} (Discriminator) discriminator_adv_loss: {weight * loss:.4f}, disc_weight: {weight:.4f}, "
            f"logits_real: 0.1000, logits_fake: -0.1300\n{stamp} (step={step:07d}) Train Loss: 0.3000, "
            "Train Steps/Sec: 1.20\n"
        )
    path.write_text(text)
    return path


def test_llamagen(tmp_path):
    """Read as logged, times 0.5, it would be a discriminator far ahead."""
    history = open_log(llamagen(tmp_path / "log.txt"))
    assert history.facts["source"] == "llamagen" and history.values("loss_D")[-5:] == pytest.approx([0.9] * 5)
    assert history.values("reconstruction")[-1] == 1.0 and not history.has("pull")
    assert max(at for at, value in history.signals["loss_D"]) > 1800
    with pytest.raises(InputError, match="disc_weight is 0 throughout"):
        open_log(llamagen(tmp_path / "log.txt", start=10**9))


def test_titok_through_accelerate(tmp_path):
    later = {"discriminator_factor": 0.5, "weighted_gan_loss": 0.01, "gan_loss": 0.1}
    started = {name: lambda step, of=of: of * (step >= 2000) for name, of in later.items()}
    names = {**started, "discriminator_loss": lambda step: 0.45 if step >= 2000 else None, "d_weight": 0.1,
             "reconstruction_loss": lambda step: 0.3 if step < 2000 else 0.15, "lecam_loss": 0.0}  # fmt: skip
    history = open_log(events(tmp_path / "run", {f"train/{name}": of for name, of in names.items()} | {"lr": 1e-4}))
    assert history.facts["source"] == "titok" and history.signals["loss_D"][0] == (2000.0, pytest.approx(0.9))
    assert history.values("reconstruction")[-1] == 1.0


def test_vqgan_of_diffusers(tmp_path):
    history = open_log(events(tmp_path / "run", {"step_discr_loss": 1.8, "step_gen_loss": 0.5, "lr": 1e-4}))
    assert history.facts["source"] == "diffusers-vqgan" and last(history, "loss_D") == [0.9]
    assert "gradient penalty in it" in said(history)


# --- speech


def bigvgan(grows=1.0):
    names = {"gen_loss_total": 30.0, "mel_spec_error": lambda step: 0.5 - step / 4e4, "fm_loss_mpd": 4.0,
             "gen_loss_mpd": 2.0, "disc_loss_mpd": 2.0, "grad_norm_mpd": 20.0, "gen_loss_mrd": 1.0,
             "disc_loss_mrd": 0.9, "grad_norm_mrd": lambda step: 10.0 * (grows if step > 5000 else 1),
             "grad_norm_g": lambda step: 100.0 * (grows if step > 5000 else 1)}  # fmt: skip
    return {f"training/{name}": value for name, value in names.items()}


def test_bigvgan(tmp_path):
    judged = judge(events(tmp_path / "logs", bigvgan() | {"validation_seen_LibriTTS/mel_spec_error": 0.3}))
    history = judged.history
    assert history.facts["source"] == "bigvgan" and not judged.verdict.findings
    assert last(history, "mpd/loss_D", "mrd/loss_D", "loss_D") == [0.8, 0.6, 0.7]  # of five times and three times 0.5
    assert last(history, "gradient_G", "mrd/gradient_D") == [100.0, 10.0]
    assert "five periods and three resolutions" in said(history)
    worse = judge(events(tmp_path / "worse", bigvgan(grows=300.0)))
    assert {one.name: one.severity for one in worse.verdict.findings} == {"gradient-explodes": Severity.NOTE}


def test_vocos_in_a_table_with_holes(tmp_path):
    """Lightning's CSVLogger: rows of validation have no losses; the step counts both optimisers' batches."""
    names = ["discriminator/multi_period_loss", "discriminator/multi_res_loss", "discriminator/total", "epoch",
             "generator/mel_loss", "generator/total_loss", "mel_loss_coeff", "step", "val/mel_loss"]  # fmt: skip
    with (tmp_path / "metrics.csv").open("w") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for step in range(49, 4000, 50):
            table.writerow({"step": step, "epoch": step // 500, names[0]: 1.8, names[1]: 1.6, names[2]: 1.96,
                            "generator/mel_loss": 0.5 - step / 1e4, "generator/total_loss": 20})  # fmt: skip
            if (step + 1) % 500 == 0:
                table.writerow({"step": step, "epoch": step // 500, "val/mel_loss": 0.31})
    history = open_log(tmp_path)
    assert history.facts["source"] == "vocos" and len(history.signals["loss_D"]) == 80
    assert last(history, "mpd/loss_D", "mrd/loss_D", "loss_D") == [0.9, 0.8, 0.85]  # hinges, means over sub-networks
    assert history.values("reconstruction")[-1] < 0.25 and history.unit == "steps"


def test_dac(tmp_path):
    names = {"adv/disc_loss/train": 3.2, "adv/gen_loss/train": 2.4, "adv/feat_loss/train": 8.0, "loss/train": 100.0,
             "mel/loss/train": lambda step: 2.0 - step / 8000, "mel/loss/val": 1.1, "other/grad_norm/train": 50.0,
             "other/grad_norm_d/train": 5.0}  # fmt: skip
    history = open_log(events(tmp_path / "logs", names).parent)
    assert history.facts["source"] == "dac" and "eight discriminators" in said(history)
    assert last(history, "loss_D", "loss_G", "gradient_D", "gradient_G") == [0.8, 1.2, 5.0, 50.0]
    assert history.values("reconstruction")[-1] == pytest.approx(0.506, abs=0.01)


def audiocraft(path, adversaries=("msstftd",)):
    """Dora's history.json: one object for each epoch, of the stages; `ratio_` where the balancer monitors."""
    rows = []
    for epoch in range(40):
        train = {f"d_{name}": 1.8 for name in adversaries} | {f"adv_{name}": 0.3 for name in adversaries}
        train |= {f"ratio_adv_{name}": 0.2 for name in adversaries} | {
            f"ratio_feat_{name}": 0.1 for name in adversaries
        }
        train |= {"d_loss": 1.8 * len(adversaries), "g_loss": 1.2, "adv": 0.3, "feat": 0.1, "ratio_l1": 0.1,
                  "ratio_msspec": 0.3, "ratio2": 3.0, "l1": 0.02, "msspec": 1.0 - epoch / 80}  # fmt: skip
        rows.append({"train": train, "valid": {"l1": 0.03, "msspec": 1.1}})
        rows[-1] |= {"evaluate": {"visqol": 4.0}} if epoch % 25 == 24 else {}
    path.write_text(json.dumps(rows, indent=2))
    return path


@pytest.mark.parametrize("adversaries", [("msstftd",), ("msstftd", "mpd")])
def test_audiocraft(tmp_path, adversaries):
    audiocraft(tmp_path / "history.json", adversaries)
    history = open_log(tmp_path, Told(batch=16))  # a batch makes no samples of epochs
    assert history.facts["source"] == "audiocraft" and history.unit == "epochs" and history.kimg == 39
    assert last(history, "loss_D", "pull", "gradient_G") == [0.9, 0.5 * len(adversaries), 3.0]
    assert history.values("reconstruction")[-1] == pytest.approx(0.513, abs=0.01)


@pytest.mark.parametrize("counted", [True, False])
def test_the_remark_on_discriminators_that_are_not_counted(tmp_path, counted):
    names = {"loss/d/total": 2.4, "loss/g/total": 30.0, "loss/g/mel": 18.0, "grad_norm_g": 100.0}
    names |= {f"loss/d_r/{head}": 0.2 for head in range(6)} if counted else {}
    history = open_log(events(tmp_path / "44k", names))
    assert history.has("loss_D") == counted and ("how many discriminators" in said(history)) != counted


# --- StyleGAN's names, and others'


def stats(folder, told, options=None, looks=20):
    """A folder of NVIDIA's code: `told` of a look."""
    folder.mkdir()
    rows = ({"Progress/kimg": 4.0 * look, **told} for look in range(looks))
    lines = (json.dumps({name: {"num": 8, "mean": mean, "std": 2.0} for name, mean in row.items()}) for row in rows)
    (folder / "stats.jsonl").write_text("\n".join(lines))
    (folder / "training_options.json").write_text(json.dumps({"training_set_kwargs": {}, "loss_kwargs": options or {}}))
    return folder


def test_r3gan_writes_differences_of_logits_under_the_names_of_scores(tmp_path):
    """Its signs are the share of pairs won: read as r_t they would be a discriminator that memorises."""
    told = {"Loss/D/loss": 0.4, "Loss/G/loss": 1.1, "Loss/scores/real": 1.0, "Loss/scores/fake": -1.0,
            "Loss/signs/real": 0.75, "Loss/r1_penalty": 0.1, "Loss/r2_penalty": 0.1}  # fmt: skip
    judged = judge(stats(tmp_path / "run", told, {"class_name": "training.loss.R3GANLoss"}))
    assert judged.history.facts["source"] == "r3gan"
    assert [one.name for one in judged.verdict.findings] == ["dead-run"]  # which is true of these numbers
    assert not judged.history.has("sign_real")
    assert last(judged.history, "loss_D", "win_rate", "gap") == [0.4 / LOG2, 0.875, math.sqrt(0.5)]


def test_rosinality_in_a_table_of_wandb(tmp_path):
    head = "Step,Generator,Discriminator,Augment,Rt,R1,Mean Path Length,Real Score,Fake Score"
    for name, signs in (("on.csv", "0.4{}"), ("off.csv", "0")):
        rows = (f"{step},1.3,1.2,0,{signs.format(step % 7)},0.1,1.2,0.7,-0.9" for step in range(0, 3000, 50))
        (tmp_path / name).write_text("\n".join([head, *rows]))
    on, off = open_log(tmp_path / "on.csv"), open_log(tmp_path / "off.csv")
    assert on.facts["source"] == "rosinality" and last(on, "loss_D", "loss_G") == [0.6 / LOG2, 1.3 / LOG2]
    assert on.has("sign_real") and not off.has("sign_real")  # 0 throughout where nothing adapts


def dcgan(path, loss, epochs=6):
    """What the example of PyTorch prints; D says 0.7 of real and 0.3 of generated samples."""
    line = "[{}/25][{}/800] Loss_D: {:.4f} Loss_G: 1.9000 D(x): 0.7000 D(G(z)): 0.3000 / 0.2500\n"
    path.write_text("Random Seed:  999\n" + "".join(
        line.format(epoch, 50 * row, loss) for epoch in range(epochs) for row in range(16)
    ))  # fmt: skip
    return path


def test_dcgan_of_the_examples(tmp_path):
    history = open_log(dcgan(tmp_path / "log.txt", loss=0.9))  # at least .71, the cross-entropy of the means
    assert history.facts["source"] == "dcgan" and last(history, "loss_D") == [0.45 / LOG2]
    assert history.unit == "epochs" and len(history.signals["loss_D"]) == 96 and 5 < history.kimg < 6


@pytest.mark.parametrize("loss", [0.45, 0.6])  # the mean of both; 1 - D(x) + D(G(z)), as in SRGANs
def test_another_loss_in_the_same_line_is_not_taken_for_it(tmp_path, loss):
    """Half of it, or a loss that is no cross-entropy, would read as a discriminator ahead."""
    path = dcgan(tmp_path / "log.txt", loss)
    with pytest.raises(InputError, match=r"is a log of dcgan: Loss_D lies below what D\(x\) and D\(G\(z\)\) come to"):
        open_log(path)
    doubled = open_log(path, Told(loss="non-saturating", columns={"2*Loss_D": "loss_D"}))
    assert last(doubled, "loss_D") == [loss / LOG2]


# --- super-resolution


OPTIONS = """2021-08-01 10:00:00,000 INFO:\x20
  name: train_x
  model_type: {}
  num_gpu: 4
  datasets:[
    train:[
      batch_size_per_gpu: 12
    ]
  ]
  train:[
    total_iter: 400000
    gan_opt:[
      type: GANLoss
      gan_type: {}
    ]
  ]

"""
ROW = ("2021-08-01 10:00:00,000 INFO: [train..][epoch:  0, iter:{:8,d}, lr:(1.000e-04,)] [eta: 2 days, 10:12:11, "
       "time (data): 0.612 (0.003)] {}\n")  # fmt: skip


@pytest.mark.parametrize(
    ("model", "kind", "loss", "value"),
    [
        ("RealESRGANModel", "vanilla", "non-saturating", 0.5 / LOG2),
        ("ESRGANModel", "vanilla", "relativistic-average", 1 / LOG2),
        ("SRGANModel", "hinge", "hinge", 0.5),
        ("SRGANModel", "other", None, None),
    ],
)
def test_basicsr_says_on_top_of_its_log_which_loss_it_is(tmp_path, model, kind, loss, value):
    losses = "l_g_pix: 5.0000e-02 l_g_percep: 3.0 l_g_gan: 1.5e-01 l_d_real: 6.0e-01 out_d_real: 1.2e+00 " \
             "l_d_fake: 4.0e-01 out_d_fake: -1.1e+00 "  # fmt: skip
    path = tmp_path / "train_x.log"
    path.write_text(OPTIONS.format(model, kind) + "".join(ROW.format(step, losses) for step in range(100, 4001, 100)))
    history = open_log(path)
    assert history.facts["loss"] == loss and history.values("loss_D")[-1:] == (
        [] if value is None else [pytest.approx(value)]
    )
    assert history.facts["batch"] == 48 and history.facts["total_kimg"] == 19_200 and history.unit == "kimg"
    assert history.kimg == 192 and history.updates == 4000


@pytest.mark.parametrize(
    ("names", "family"),
    [("l_g_pix: 0.05 l_g_percep: 3.0 l_g_gan: 0.8", "gfpgan"), ("l_g: 0.8 path_length: 1.2", "basicsr-stylegan2")],
)
def test_logistic_losses_of_basicsr(tmp_path, names, family):
    path, losses = tmp_path / "x.log", f"{names} l_d: 1.2 real_score: 1.2 fake_score: -1.1"
    path.write_text("".join(ROW.format(step, losses) for step in range(100, 4001, 100)))
    history = open_log(path)
    assert history.facts["source"] == family and last(history, "loss_D") == [0.6 / LOG2]
    assert bool(history.facts.get("anchored")) == (family == "gfpgan")


# --- what is named by mistake


def test_a_folder_of_runs_names_them(tmp_path):
    for name in ("00000-a", "00001-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stats.jsonl").write_text("{}")
    with pytest.raises(InputError, match=r"name the folder of a run: there are logs in 00000-a, 00001-b$"):
        open_log(tmp_path)
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "run-abc.wandb").write_bytes(b":W&B\0")
    with pytest.raises(InputError, match="export the charts as CSV"):
        open_log(tmp_path / "wandb")


def test_a_period_is_counted_as_the_time_is(tmp_path):
    rows = (f"{step},{1.2 + 0.4 * math.sin(step / 5):.4f}" for step in range(400))
    (tmp_path / "log.csv").write_text("\n".join(["step,d", *rows]))
    told = {"loss": "non-saturating", "columns": {"d": "loss_D"}}
    assert "period of that repeat in steps" in judge(tmp_path, Told(**told)).text()
    assert "period of that repeat in thousands of real samples" in judge(tmp_path, Told(**told, batch=8)).text()


def test_a_mapping_without_quotes_is_told_how_to_be_written(tmp_path):
    (tmp_path / "names.toml").write_text("d_loss = loss_D\n")
    with pytest.raises(InputError, match=r'could be read \(.*\); write lines like "d_loss" = "loss_D"'):
        columns_from(tmp_path / "names.toml")


# --- a discriminator that draws ahead while samples get worse


@pytest.mark.parametrize(("rises", "augmented", "first"), [(True, 0.0, True), (True, 0.3, False), (False, 0.0, False)])
def test_where_samples_were_better_before_learning_by_heart_is_thought_of_first(tmp_path, rises, augmented, first):
    """As in Fig. 1 of arXiv:2006.06676: with few data the distance falls, and rises as D draws ahead."""
    folder = stats(tmp_path / "run", {}, {"class_name": "training.loss.StyleGAN2Loss"})
    rows = []
    for look in range(60):
        told = {"Loss/D/loss": max(0.05, 1.0 - 0.02 * look), "Loss/G/loss": 1.0, "Progress/kimg": 4.0 * look,
                "Loss/scores/real": 1.0, "Progress/augment": augmented, "Loss/signs/real": 0.9}  # fmt: skip
        rows.append(json.dumps({name: {"num": 8, "mean": mean, "std": 1.0} for name, mean in told.items()}))
    (folder / "stats.jsonl").write_text("\n".join(rows))
    values = [100 - 15 * n if n < 5 else 40 + 10 * (n - 5) * rises for n in range(12)]
    (folder / "metric-fid50k_full.jsonl").write_text("\n".join(
        json.dumps({"results": {"fid50k_full": value}, "snapshot_pkl": f"network-snapshot-{20 * n:06d}.pkl"})
        for n, value in enumerate(values)
    ))  # fmt: skip
    found = {one.name: one for one in judge(folder).verdict.findings}
    assert ("by heart" in found["discriminator-overpowers"].advice[0]) == first
    assert found["discriminator-overpowers"].severity == (Severity.WARNING if rises else Severity.NOTE)
