"""What logs in public repositories hold: layouts and faults as found there (docs/diagnose.md), numbers made up."""

import functools
import json

import pytest

from equipoise.diagnosis import Severity
from equipoise.errors import InputError
from equipoise.logs import Told, open_log, texts
from equipoise.logs.judge import judge
from equipoise.logs.lines import PAIR
from equipoise.logs.nvidia import options
from equipoise.logs.texts import flat

CYCLE = "(epoch: {}, iters: {}, time: 0.480, data: 0.002) D_A: {:.3f} G_A: 0.843 cycle_A: {:.3f} idt_A: 0.505 " \
        "D_B: {:.3f} G_B: 0.294 cycle_B: {:.3f} idt_B: 0.984 \n"  # fmt: skip
HEAD = "================ Training Loss (Mon Feb 14 16:51:32 2022) ================\n"


def nvidia(folder, looks=20, sign=0.61, strength=0.3, distances=(), options=None):
    """A folder of StyleGAN2-ADA or 3: looks 4 kimg apart, distances 40 kimg apart."""
    folder.mkdir(exist_ok=True)
    lines = []
    for look in range(looks):
        told = {
            "Loss/D/loss": 0.9 + 0.01 * (look % 3),
            "Loss/G/loss": 1.2,
            "Loss/scores/real": 0.8,
            "Loss/scores/fake": -0.8,
        }
        told |= {"Loss/signs/real": sign, "Progress/kimg": 4.0 * look, "Progress/augment": strength}
        lines.append(json.dumps({name: {"num": 8, "mean": mean, "std": 0.9} for name, mean in told.items()}))
    (folder / "stats.jsonl").write_text("\n".join(lines) + "\n")
    rows = (
        json.dumps({"results": {"fid50k_full": value}, "snapshot_pkl": f"network-snapshot-{40 * number:06d}.pkl"})
        for number, value in enumerate(distances)
    )
    (folder / "metric-fid50k_full.jsonl").write_text("\n".join(rows))
    if options is not None:
        (folder / "training_options.json").write_text(options)
    return folder


def cycle(entries, epochs=20, a=0.2, b=0.2):
    """Lines of loss_log.txt: `entries` an epoch; D_A and D_B fall to what is given, and no lower than 0."""
    lines = ""
    for epoch in range(1, epochs + 1):
        share = epoch / epochs
        for entry in range(entries):
            held = 2.0 - share
            d = [max(0.0, 0.25 + share * (last - 0.25)) for last in (a, b)]
            lines += CYCLE.format(epoch, 100 * entry + 4, d[0], held, d[1], held)
    return lines


def found(judged):
    return {(one.name, one.player, one.severity) for one in judged.verdict.findings}


# --- NVIDIA's stats.jsonl


def test_distances_that_cannot_be_are_no_distances(tmp_path):
    """Of SciPy 1.11.2: 1.2e57 at first, 2.9e53 later, which is less than 70 % of its beginning."""
    broken = judge(nvidia(tmp_path, distances=[1.2e57, 8.2e51, 4.3e53, -3.1e68, -2.7e57, 7.9e64, 2.9e53, -1.9e50]))
    assert not broken.history.has("frechet") and not broken.verdict.findings
    assert "8 of the values of frechet cannot be distances" in broken.text()
    assert "how far D is ahead hardly predicts it" in broken.text()  # whether the run is well cannot be told


def test_a_distance_that_cannot_be_among_others_is_left_out(tmp_path):
    history = open_log(nvidia(tmp_path, distances=[418.0, 61.0, -1e30, 33.0, -1e-9]))
    assert history.signals["frechet"] == [(0.0, 418.0), (40.0, 61.0), (120.0, 33.0), (160.0, -1e-9)]


def test_training_options_are_facts(tmp_path):
    told = {"training_set_kwargs": {"max_size": 961}, "batch_size": 8, "total_kimg": 3000, "augment_kwargs": {}}
    facts = open_log(nvidia(tmp_path / "a", options=json.dumps(told))).facts
    assert {"count": 961, "batch": 8, "total_kimg": 3000, "augmented": True}.items() <= facts.items()
    assert open_log(tmp_path / "a", Told(count=500)).facts["count"] == 500
    forever = open_log(nvidia(tmp_path / "b", options=json.dumps(told | {"total_kimg": 25000}))).facts
    assert "total_kimg" not in forever and forever["count"] == 961
    assert "count" not in open_log(nvidia(tmp_path / "c", options='{"training_set')).facts


@pytest.mark.parametrize(
    ("sign", "strength", "said"),
    [(0.61, 0.11, ""), (0.69, 0.5, ""), (0.94, 0.17, "let it find its strength"), (0.61, 0.0, "try ada"),
     (0.61, 0.9, "if augmentation is off")],
)  # fmt: skip
def test_ada_holds_the_signs_at_its_target(tmp_path, sign, strength, said):
    """Signs a hair above 0.6 are what ADA is there for, while its strength is neither 0 nor at its limit."""
    notes = [one for one in judge(nvidia(tmp_path, sign=sign, strength=strength)).verdict.findings
             if one.name == "discriminator-memorises"]  # fmt: skip
    assert bool(notes) == bool(said)
    assert all(one.severity == Severity.NOTE and said in one.advice[1] for one in notes)


def test_texts_as_training_options_and_results_of_nothing_are_left_out(tmp_path):
    told = {"training_set_kwargs": {"max_size": "961"}, "batch_size": "8", "total_kimg": 3000}
    folder = nvidia(tmp_path, distances=[60.0], options=json.dumps(told))
    with (folder / "metric-fid50k_full.jsonl").open("a") as file:
        for nothing in (None, [50.0]):
            file.write("\n" + json.dumps({"results": nothing, "snapshot_pkl": "network-snapshot-000040.pkl"}))
    judged = judge(folder)
    assert judged.history.signals["frechet"] == [(0.0, 60.0)] and judged.history.facts["total_kimg"] == 3000
    assert not judged.history.facts.keys() & {"count", "batch"}
    path = folder / "training_options.json"
    path.write_text(json.dumps(told | {"total_kimg": 10**400}))
    assert options(path) == {}


# --- lines of text


def test_cyclegan_reads_with_time_in_epochs(tmp_path):
    (tmp_path / "loss_log.txt").write_text(HEAD + cycle(4), newline="\r\n")
    history = open_log(tmp_path)  # the folder: its options are text files too
    assert history.facts["source"] == "cyclegan" and history.unit == "epochs"
    assert history.signals["loss_D"][-1] == pytest.approx((20.75, 0.4 / 0.5))  # both at a quarter would be the ideal
    assert history.signals["A/loss_D"][0] == pytest.approx((1.0, 0.2475 / 0.25), abs=0.003)  # three decimals
    assert history.signals["loss_G"][3] == pytest.approx((1.75, (0.843 + 0.294) / 0.5))
    assert history.signals["reconstruction"][-1] == pytest.approx((20.75, 2.0 / 3.9))
    told = judge(tmp_path)
    assert "D's loss over its ideal value, of discriminator A" in told.text() and not told.verdict.most_like
    vanilla = open_log(tmp_path, Told(loss="non-saturating"))
    assert vanilla.signals["loss_D"][-1][1] == pytest.approx(0.4 / (2 * 0.6931471806))


def test_one_discriminator_that_has_won_is_named(tmp_path):
    """As D_A 0.000, D_B 0.2: the mean over both looks well."""
    path = tmp_path / "loss_log.txt"
    path.write_text(HEAD + cycle(4, a=0.08, b=0.19))  # an ordinary run at its end
    assert judge(path).exit_code == 0 and ("discriminator-overpowers", "B") not in {
        one[:2] for one in found(judge(path))
    }
    path.write_text(HEAD + cycle(4, a=-0.25))
    assert found(judge(path)) >= {("discriminator-overpowers", "A", Severity.WARNING)}
    assert not [one for one in found(judge(path)) if one[1] == "B" or one[0] == "dead-run"]
    assert judge(path, Told(anchored=True)).exit_code == 0


def test_a_new_run_in_the_same_log_supersedes_the_old_one(tmp_path):
    path = tmp_path / "loss_log.txt"
    path.write_text(HEAD + cycle(4, epochs=9, a=0.01) + HEAD + HEAD + cycle(4, epochs=3))
    history = open_log(path)
    assert len(history.signals["loss_D"]) == 12 and history.kimg == 3.75
    assert any("goes back in time" in text for text in history.facts["remarks"])
    path.write_text(HEAD + cycle(4, epochs=3))
    assert open_log(path).signals == history.signals and not any(
        "goes back" in text for text in open_log(path).facts["remarks"]
    )


def test_cyclegan_resumed_within_an_epoch(tmp_path):
    """`--continue_train` begins the epoch again; of it only what came last counts."""
    path, line = tmp_path / "loss_log.txt", [CYCLE.format(60, n, d, 1.0, 0.2, 1.0) for n, d in
                                             ((100, 0.9), (200, 0.9), (100, 0.1), (200, 0.2), (300, 0.3))]  # fmt: skip
    path.write_text(cycle(2, epochs=20) + "".join(line))
    values = dict(open_log(path).signals["A/loss_D"])
    assert [value for at, value in values.items() if at >= 60] == pytest.approx([0.4, 0.8, 1.2])


def test_pix2pix_and_the_layout_of_2025(tmp_path):
    path = tmp_path / "loss_log.txt"
    row = (
        "[Rank 0] (epoch: {}, iters: 94, time: 0.162, data: 0.003) , G_GAN: {}, G_L1: 4.0, D_real: 0.4, D_fake: {}\n\n"
    )
    path.write_text("".join(row.format(epoch, 1.2, 0.2) for epoch in range(1, 9)))
    history = open_log(path)
    assert history.facts["source"] == "pix2pix" and history.facts["anchored"]
    assert history.signals["loss_D"][0] == pytest.approx((1.0, 0.6 / (2 * 0.6931471806)))
    assert history.signals["loss_G"][7] == pytest.approx((8.0, 1.2 / 0.6931471806))
    assert judge(path).exit_code == 0


@pytest.mark.parametrize(
    "head",
    ["2020-08-15 15:50:30,390 INFO: [My_ES..][epoch:207, iter: {:8,d}, lr:(1.000e-04,)] [eta: 1 day, 18:13:17, time "
     "(data): 0.365 (0.002)] l_g_pix: {} l_g_percep: 5.2e-01",
     "19-08-09 08:25:25.996 - INFO: <epoch: 207, iter: {:8,d}, lr:2.500e-05> l_g_pix: {} l_g_fea: 1.0389e+00"],
)  # fmt: skip
def test_basicsr_in_text(tmp_path, head):
    path = tmp_path / "train_x.log"
    rows = (
        head.format(900 + 100 * n, "1.5e-03") + " l_g_gan: 7.2e-02 l_d_real: 6.0e-01 l_d_fake: 3.0e-01"
        for n in range(3)
    )
    path.write_text(
        "Start training from epoch: 0, iter: 0\n" + "\n".join(rows) + "\n<epoch:207, iter:   1,100> psnr: nan"
    )
    history = open_log(path, Told(loss="non-saturating"))
    assert history.facts["source"] == "basicsr" and history.unit == "iters"
    assert [step for step, _ in history.signals["loss_D"]] == [900, 1000, 1100]
    assert history.values("loss_D") == pytest.approx([0.9 / 1.3862943611] * 3)
    assert history.signals["reconstruction"][2] == (1100.0, 1.0)


def test_rvc_that_died_of_nan_while_its_reconstruction_stays_finite(tmp_path):
    path = tmp_path / "train.log"
    row = "2024-06-13 02:20:09,123\tmi-test\tINFO\tTrain Epoch: {} [47%]\nINFO:mi-test:[{}, 9.99875e-05]\nINFO:mi-test:"
    row += "loss_disc={}, loss_gen={}, loss_fm=5.902,loss_mel={:.3f}, loss_kl=2.332\n"
    lost = [row.format(n, 200 * n, *(("nan", "nan") if n > 5 else (3.7, 3.3)), 23.0 - 0.1 * n) for n in range(9)]
    path.write_text("DEBUG:matplotlib:data path: X:\\miniconda3\\envs\n" + "".join(lost))
    history = open_log(path)
    assert history.facts["source"] == "rvc" and history.signals["reconstruction"][-1][0] == 1600.0
    assert history.signals["nonfinite"] == [(1200.0, 1.0), (1400.0, 1.0), (1600.0, 1.0)]
    assert judge(path).exit_code == 1
    path.write_text("".join(lost[:6]))
    assert judge(path).exit_code == 0


def test_text_with_other_names_can_be_mapped(tmp_path):
    path = tmp_path / "out.txt"
    row = "[INFO] 2021-02-21 01:23:05 > Step:    {} Progress: 3.2% Elapsed: 4:07:35 T: 1.0 ada_p: No D_loss: {}\n"
    path.write_text("".join(row.format(6500 + 100 * n, 1.5) for n in range(3)))
    with pytest.raises(InputError, match=r"it has D_loss, Progress, T\. Say what"):
        open_log(path)
    history = open_log(path, Told(loss="hinge", columns={"D_loss": "loss_D"}))
    assert history.signals["loss_D"] == [(6500.0, 0.75), (6600.0, 0.75), (6700.0, 0.75)]
    path.write_text(
        "[Epoch 0/9] [Batch 0/9] [D loss: 0.5] [G loss: 1]\n[Epoch 0/9] [Batch 1/9] [D loss: .75] [G loss: 1]\n"
    )
    history = open_log(path, Told(loss="hinge", columns={"D loss": "loss_D"}))
    assert history.signals["loss_D"] == [(0.0, 0.25), (0.5, 0.375)] and history.unit == "epochs"


@pytest.mark.parametrize(
    ("value", "read"),
    [("0.75s", None), ("1.3e", None), ("1.2.3", None), ("2024-01-02", None), ("0,693", None), ("1,2", None),
     ("107,200", 107200.0), ("1.", 1.0), ("-.5e-1", -0.05), ("3/200", 3.0), ("0.75, next", 0.75), ("2-100", 2.0)],
)  # fmt: skip
def test_a_number_in_text_is_read_whole_or_not_at_all(tmp_path, value, read):
    path = tmp_path / "train.log"
    path.write_text(f"step: 1 energy: 0.5 churn: {value}\n")
    assert open_log(path).signals.get("churn") == (None if read is None else [(1.0, read)])


@pytest.mark.parametrize("value", ["NaN", "nan", "-Inf", "Infinity"])
def test_text_that_ends_in_no_number_is_an_alarm_however_it_is_spelt(tmp_path, value):
    path = tmp_path / "train.log"
    path.write_text("".join(f"step: {n} energy: 0.5 win_rate: {value if n > 5 else 0.6}\n" for n in range(9)))
    assert open_log(path).signals["nonfinite"] == [(6.0, 1.0), (7.0, 1.0), (8.0, 1.0)]


def test_long_words_without_a_number_are_passed_over_at_once():
    """Steps grow as the length, not as its square: 2 million letters would take days."""
    assert PAIR.findall("a" * 2_000_000 + " win_rate: 0.5") == [("win_rate", "0.5")]


# --- time


def short(head, numbers, anew=True, late=False):
    """Nine epochs of three lines, whose heads stand in lines of their own, before the others or after them."""
    text = ""
    for epoch in range(1, 10):
        before = 0 if anew else 300 * (epoch - 1)
        rows = "".join(numbers.format(before + 100 * n, epoch + n / 10) for n in (1, 2, 3))
        text += rows + head.format(epoch) if late else head.format(epoch) + rows
    return text


@pytest.mark.parametrize(
    "head",
    [
        "Epoch: {} | lr: 0.0002\n",
        "====> Epoch: {}\n",
        "Epoch: {}\nbest epoch: 1\n",
        "Epoch {}/9\n",
        "[Epoch {}/9]\n",
        "2026-11-26 13:00:01,123 Epoch {}\n",
        "[2026-11-26 13:00:01] INFO - Epoch {}\n",
        "2026-11-26 13:00:01 - train - INFO - Epoch [{}/9]\n2026-11-26 13:00:01 - train - INFO - best epoch 1/9\n",
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_an_epoch_in_a_line_of_its_own_holds_for_the_lines_after_it(tmp_path, head, late):
    path = tmp_path / "train.log"
    path.write_text("batch: 4, lr: 0.1\n" + short(head, "iter: {} energy: {:.1f}\n", late=late))
    history = open_log(path)
    assert history.values("energy") == pytest.approx([epoch + n / 10 for epoch in range(1, 10) for n in (1, 2, 3)])
    assert history.unit == "epochs" and not any("goes back" in text for text in history.facts["remarks"])
    assert [int(at) for at, _ in history.signals["energy"]] == [n // 3 + (not late) for n in range(27)]


@pytest.mark.parametrize("count", ["step", "iter"])
def test_a_count_over_the_whole_run_beside_epochs_in_lines_of_their_own_is_the_time(tmp_path, count):
    path = tmp_path / "train.log"
    path.write_text(short("Epoch: {}, time: 12\n", count + ": {} energy: {:.1f}\n", anew=False, late=True))
    history = open_log(path)
    assert [at for at, _ in history.signals["energy"]] == [100.0 * n for n in range(1, 28)]
    assert history.unit == f"{count}s" and not any("goes back" in text for text in history.facts["remarks"])


@pytest.mark.parametrize("count", ["step {}/800 |", "[Iter {}/800]", "Iteration {}:", "2026-11-26 13:00:01 step {},"])
def test_a_count_without_a_colon_before_it_is_the_time(tmp_path, count):
    path = tmp_path / "train.log"
    path.write_text("".join(f"{count.format(100 * n)} energy: {n / 10}\n" for n in range(1, 9)))
    history = open_log(path)
    assert history.signals["energy"] == [(100.0 * n, n / 10) for n in range(1, 9)]
    assert history.unit in ("steps", "iters", "iterations")


def test_a_run_resumed_at_an_epoch_in_a_line_of_its_own_supersedes_what_came_after_it(tmp_path):
    path, numbers = tmp_path / "train.log", "iter: {} energy: {:.1f}\n"
    path.write_text(short("Epoch: {} | lr: 1\n", numbers) + "Epoch: 9 | lr: 1\n" + numbers.format(100, 5.0))
    history = open_log(path)
    assert len(history.values("energy")) == 25 and history.values("energy")[-1] == 5.0
    assert any("goes back" in text for text in history.facts["remarks"])


def test_lines_that_two_ranks_print_are_no_resumption(tmp_path):
    path = tmp_path / "train.log"
    path.write_text("".join(f"epoch: {n // 3}, iter: {n % 3} energy: {0.1 * n:.1f}\n" * 2 for n in range(9)))
    history = open_log(path)
    assert history.values("energy") == pytest.approx([0.1 * n for n in range(9)])
    assert not any("goes back" in text for text in history.facts["remarks"])


def test_a_log_that_begins_anew_is_not_two_runs_in_one(tmp_path):
    path = tmp_path / "log.csv"
    old = [f"{step},{'nan' if step > 900 else 0.9}" for step in range(0, 1001, 20)]
    path.write_text("\n".join(["step,win_rate", *old, *(f"{step},0.6" for step in range(0, 301, 20))]))
    history = open_log(path)
    assert history.kimg == 300 and set(history.values("win_rate")) == {0.6} and "nonfinite" not in history.signals
    assert any("goes back in time" in text for text in history.facts["remarks"])


def test_a_resumed_log_keeps_what_came_before(tmp_path):
    path = tmp_path / "log.jsonl"
    steps = [(step, 0.9) for step in range(0, 100, 10)] + [(step, 0.6) for step in range(55, 80, 5)]
    path.write_text("\n".join(json.dumps({"step": step, "win_rate": value}) for step, value in steps))
    assert open_log(path).signals["win_rate"] == [
        (float(step), 0.9 if step < 55 else 0.6) for step in (0, 10, 20, 30, 40, 50, 55, 60, 65, 70, 75)
    ]


def test_a_log_with_the_latest_first_is_in_order(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["step,win_rate", *(f"{step},0.{step}" for step in range(9, 0, -1))]))
    assert open_log(path).signals["win_rate"] == [(float(step), step / 10) for step in range(1, 10)]


def test_the_batches_of_an_epoch_all_count(tmp_path):
    path = tmp_path / "training_log.csv"
    path.write_text("Epoch,Batch,Disc Loss\n0,0,1.0\n0,1,2.0\n1,0,3.0\n1,1,4.0\n1,2,5.0\n1,3,6.0\n")
    history = open_log(path, Told(loss="hinge", columns={"Disc Loss": "loss_D"}))
    assert history.signals["loss_D"] == [(0, 0.5), (0.5, 1.0), (1, 1.5), (1.25, 2.0), (1.5, 2.5), (1.75, 3.0)]
    assert history.unit == "epochs"


def test_a_count_that_begins_anew_in_each_epoch_is_no_time(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,step,win_rate\n0,0,0.5\n0,50,0.6\n1,0,0.7\n1,50,0.8\n")
    assert open_log(path).signals["win_rate"] == [(0, 0.5), (0.5, 0.6), (1, 0.7), (1.5, 0.8)]
    with pytest.raises(InputError, match="step begins anew in each epoch, so that it tells no time"):
        open_log(path, Told(columns={"step": "step"}))


# --- tables


def test_a_list_of_objects_under_any_name(tmp_path):
    path = tmp_path / "log"  # as Chainer writes it
    path.write_text('[\n    {\n        "iteration": 100,\n        "win_rate": 0.7\n    }\n]')
    assert open_log(path).signals == {"win_rate": [(100.0, 0.7)]}


def test_a_loss_that_stands_in_no_relation_is_said_so(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("Epoch,Loss_D,win_rate\n1,1.0,0.6\n2,1.0,0.6\n")
    told = Told(loss="wasserstein", columns={"Loss_D": "loss_D"})
    assert any(
        "Loss_D tells nothing: the ideal value of wasserstein" in text for text in open_log(path, told).facts["remarks"]
    )
    path.write_text("Epoch,Loss_D\n1,1.0\n2,1.0\n")
    with pytest.raises(InputError, match=r"nothing that was mapped in .* tells a signal\. .*Loss_D tells nothing"):
        open_log(path, told)


def test_a_file_is_read_once(tmp_path, monkeypatch):
    path, asked, read = tmp_path / "log", [], texts.text_of
    path.write_text("\n" * 9 + '{"step": 1, "win_rate": 0.5}\n' * 9)
    monkeypatch.setattr(texts, "text_of", lambda path, most=-1: [asked.append(most), read(path, most)][1])
    assert open_log(path).signals == {"win_rate": [(1.0, 0.5)]} and asked == [4096, -1]
    assert read(path, 11) == "\n" * 9 + '{"'


# --- odd input


def test_whole_numbers_of_hundreds_of_digits_are_no_numbers(tmp_path):
    path, huge = tmp_path / "log.jsonl", "9" * 400
    rows = ((1, "0.5"), (2, huge), (huge, "0.7"), (4, "0.8"))
    path.write_text("".join(f'{{"step": {step}, "win_rate": {value}}}\n' for step, value in rows))
    assert open_log(path).signals["win_rate"] == [(1.0, 0.5), (4.0, 0.8)]
    path = nvidia(tmp_path / "stats")
    with (path / "stats.jsonl").open("a") as file:
        file.write(f'{{"Progress/kimg": {{"mean": {huge}}}, "Loss/D/loss": {{"mean": 1}}}}\n')
    assert open_log(path).kimg == 76.0
    path = tmp_path / "run.jsonl"
    path.write_text(f'{{"event": "tick", "kimg": {huge}, "balance": {{"loss_D": 1}}}}\n'
                    f'{{"event": "tick", "kimg": 2, "balance": {{"loss_D": {huge}, "energy": 0.5}}}}\n')  # fmt: skip
    assert open_log(path).signals == {"energy": [(2.0, 0.5)]}


@pytest.mark.parametrize("depth", [3000, 100_000])
def test_objects_nested_deep_are_left_out(tmp_path, depth):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "win_rate": 0.5}\n{"step": 2, "a": ' + '{"a": ' * depth + "1" + "}" * (depth + 1))
    assert open_log(path).signals == {"win_rate": [(1.0, 0.5)]}
    nested = functools.reduce(lambda inner, _: {"a": inner}, range(3000), {})  # newer versions of json read as much
    assert flat({"loss": {"d": 1}} | nested) == {"loss/d": 1}
    for name, opened in (("config", "{"), ("data", "[")):
        (tmp_path / f"{name}.json").write_text((opened + '"a": ' * (opened == "{")) * depth)
    (tmp_path / "training_options.json").write_text("[" * depth)
    (tmp_path / "run.jsonl").write_text('{"event": "tick", "kimg": 2, "balance": {"energy": 0.5}}')
    assert open_log(tmp_path).signals == {"energy": [(2.0, 0.5)]}
    assert options(tmp_path / "training_options.json") == {}


def test_a_table_with_a_quotation_mark_left_open_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text('step,win_rate,note\n1,0.5,"' + "a" * 140_000 + "\n2,0.6,b\n")
    with pytest.raises(InputError, match=r"log\.csv is no table that can be read .*quotation mark"):
        open_log(path)


def test_a_folder_that_is_named_like_a_log_is_none(tmp_path):
    for name in ("log.csv", "stats.jsonl", "run.jsonl", "old.log"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="0 tables or logs"):
        open_log(tmp_path)
    (tmp_path / "train.log").write_text("step: 1 win_rate: 0.5\n")
    assert open_log(tmp_path).signals == {"win_rate": [(1.0, 0.5)]}


def test_settings_beside_a_log_do_not_hide_it(tmp_path):
    (tmp_path / "metrics.json").write_text('[{"step": 1, "win_rate": 0.9}]')
    assert open_log(tmp_path).signals == {"win_rate": [(1.0, 0.9)]}
    (tmp_path / "config.json").write_text('{"lr": 0.1}')
    (tmp_path / "train.log").write_text("step: 1 win_rate: 0.5\n")
    assert open_log(tmp_path).signals == {"win_rate": [(1.0, 0.5)]}
    (tmp_path / "log.csv").write_text("step,win_rate\n1,0.6\n")
    assert open_log(tmp_path).signals == {"win_rate": [(1.0, 0.6)]}


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "metric-fid.jsonl").mkdir()
    nvidia(tmp_path)
    with pytest.raises(InputError, match=r"metric-fid\.jsonl cannot be read \(Is a directory\)"):
        open_log(tmp_path)
