"""Other programs' logs become signals under the names that their sources write, and nothing is made up."""

import json
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

from equipoise import logs
from equipoise.diagnosis import Severity, diagnose
from equipoise.errors import InputError
from equipoise.logs import Told, open_log
from equipoise.logs.convert import IDEAL, SIGNLESS
from equipoise.logs.families import FAMILIES
from equipoise.registry import entries
from equipoise.signals import SIGNALS

FIXTURES = Path(__file__).parent / "fixtures" / "logs"


def write(folder, series, steps=range(0, 1000, 100), tag=None):
    """An event file in a folder: name to value, or to a function of the step."""
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            for name, value in series.items():
                writer.add_scalar(tag or name, value(step) if callable(value) else value, step)
    return folder


def values(history, name):
    return [value for _, value in history.signals[name]]


def test_the_ideal_values_are_those_of_the_registry():
    known = {entry.name: entry.facts["ideal"] for entry in entries("loss")}
    assert {name: known[name] for name in IDEAL} == IDEAL
    assert {entry.name for entry in entries("loss") if entry.part.zero != 0} == SIGNLESS


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_names_signals_and_sources(family):
    assert {name.rpartition("/")[2] for name in family.signals} <= set(SIGNALS) and family.marks
    assert all("/" in source and ": " in source for source in family.sources)
    assert set(family.usual) <= set(family.facts)


def test_nvidias_statistics():
    history = open_log(FIXTURES / "stylegan")
    assert history.facts["source"] == "stylegan" and history.facts["loss"] == "non-saturating"
    assert history.signals["loss_D"][1] == pytest.approx((4.0, 1.26 / 1.3862943611))
    assert history.signals["loss_G"][0] == pytest.approx((0.1, 0.9 / 0.6931471806))
    assert history.signals["gap"][2] == pytest.approx((8.0, 0.8))  # 0.4 + 0.4, both with a deviation of 1
    assert values(history, "sign_real")[-1] == pytest.approx(0.54)
    assert values(history, "augmentation")[-1] == pytest.approx(0.044)
    assert history.signals["frechet"] == [(0.0, 300.0), (20.0, 60.0), (40.0, 40.0)]
    assert "Loss/r1_penalty" in history.facts["unused"] and "Loss/D/loss" not in history.facts["unused"]
    assert open_log(FIXTURES / "stylegan" / "stats.jsonl").signals == history.signals


def test_stats_are_known_again_by_another_name(tmp_path):
    (tmp_path / "stats (1).jsonl").write_text((FIXTURES / "stylegan" / "stats.jsonl").read_text())
    copied, whole = open_log(tmp_path / "stats (1).jsonl"), open_log(FIXTURES / "stylegan")
    assert copied.facts["source"] == "stylegan" and copied.signals["gap"] == whole.signals["gap"]


def test_a_relativistic_loss_takes_the_meaning_from_signs():
    history = open_log(FIXTURES / "stylegan", Told(loss="rpgan"))
    assert "sign_real" not in history.signals and history.facts["signless"]
    assert values(history, "loss_D")[0] == pytest.approx(1.3 / 0.6931471806)


def test_nvidias_events_tell_no_gap_since_they_have_no_spread(tmp_path):
    names = {"Loss/D/loss": 1.0, "Loss/G/loss": 0.9, "Loss/scores/real": 0.5, "Loss/scores/fake": -0.5,
             "Loss/signs/real": 0.4, "Metrics/fid50k_full": lambda step: 50.0}  # fmt: skip
    history = open_log(write(tmp_path, names, range(10)))
    assert set(history.signals) == {"loss_D", "loss_G", "sign_real", "frechet"}
    assert history.signals["sign_real"][3] == pytest.approx((3.0, 0.4))  # steps are kimg there


def test_studiogan_from_weights_and_biases():
    unknown = open_log(FIXTURES / "studiogan" / "wandb.csv")
    assert unknown.facts["source"] == "studiogan" and "loss_D" not in unknown.signals
    assert any("say --loss" in text for text in unknown.facts["remarks"])
    history = open_log(FIXTURES / "studiogan" / "wandb.csv", Told(loss="hinge", batch=64))
    assert history.signals["loss_D"][0] == pytest.approx((6.4, 1.85 / 2))
    assert "loss_G" not in history.signals  # the hinge's ideal value is 0 for G
    assert history.signals["frechet"] == [(32.0, 70.0), (64.0, 60.0)]
    assert "gen_loss__MIN" not in history.facts["unused"]


def test_studiogan_of_2020_writes_a_folder_for_each(tmp_path):
    write(tmp_path / "Losses_discriminator", {"Losses": 1.0})
    write(tmp_path / "Losses_generator", {"Losses": 0.2})
    write(tmp_path, {"ada_p": 0.3})
    history = open_log(tmp_path, Told(loss="hinge"))
    assert history.facts["source"] == "studiogan-2020"
    assert values(history, "loss_D")[0] == pytest.approx(0.5) and values(history, "augmentation")[0] == pytest.approx(
        0.3
    )


def test_mimicry_writes_a_folder_for_each_named_by_its_group(tmp_path):
    for folder, tag in (("errD", "loss"), ("errG", "loss"), ("D(x)", "prob"), ("D(G(z))", "prob")):
        write(tmp_path / "data" / folder, {tag: 0.7})
    history = open_log(tmp_path, Told(loss="non-saturating", batch=64))
    assert history.facts["source"] == "mimicry" and set(history.signals) == {"loss_D", "loss_G"}
    assert history.signals["loss_D"][1] == pytest.approx((6.4, 0.7 / 1.3862943611))


def test_taming_before_its_discriminator_started():
    history = open_log(FIXTURES / "lightning" / "metrics.csv")
    assert history.facts["source"] == "taming" and history.facts["anchored"]
    assert history.signals["loss_D"][0] == pytest.approx((400.0, 0.82))  # half the hinge's sum, whose ideal is 1
    assert history.signals["pull"][0] == pytest.approx((400.0, 1 / 2.4))
    assert history.signals["reconstruction"][0][0] == 400.0
    assert history.signals["reconstruction"][1] == pytest.approx((450.0, 1.0))  # the median of the first three
    vanilla = open_log(FIXTURES / "lightning" / "metrics.csv", Told(loss="non-saturating"))
    assert values(vanilla, "loss_D")[0] == pytest.approx(0.82 / 0.6931471806)


def test_basicsr(tmp_path):
    names = {f"losses/{name}": 0.5 for name in ("l_g_pix", "l_g_percep", "l_g_gan", "l_d_real", "l_d_fake")}
    write(tmp_path, names | {"out_d_real": 1.0, "out_d_fake": -1.0})
    history = open_log(tmp_path, Told(loss="non-saturating"))
    assert history.facts["source"] == "basicsr" and history.facts["anchored"]
    assert values(history, "loss_D")[0] == pytest.approx(1 / 1.3862943611)
    assert values(open_log(tmp_path, Told(loss="least-squares")), "loss_D")[0] == pytest.approx(1 / 0.5)  # no 1/2 there
    assert "gap" not in history.signals and "out_d_real" in history.facts["unused"]


@pytest.mark.parametrize("heads", [6, 9])
def test_vits_and_rvc_by_the_number_of_their_discriminators(tmp_path, heads):
    each = {f"loss/{group}/{head}": 0.25 for head in range(heads) for group in ("d_r", "d_g", "g")}
    names = {"loss/g/total": 30.0, "loss/d/total": 0.5 * heads, "learning_rate": 1e-4, "grad_norm_d": 20.0}
    names |= {"grad_norm_g": 60.0, "loss/g/fm": 2.0, "loss/g/mel": lambda step: 20.0 - step / 100, "loss/g/kl": 1.0}
    history = open_log(write(tmp_path, names | each), Told(batch=8))
    assert history.facts["source"] == "vits" and history.facts["loss"] == "least-squares"
    assert values(history, "loss_D") == pytest.approx([1.0] * 10)  # blind discriminators say 0.5: a quarter each
    assert values(history, "loss_G") == pytest.approx([1.0] * 10)
    assert history.signals["gradient_G"][2] == pytest.approx((1.6, 60.0))
    assert values(history, "reconstruction")[-1] == pytest.approx(11 / 19)


def test_so_vits_svc_does_not_tell_how_many_discriminators_it_adds_up(tmp_path):
    names = {"loss/g/total": 30.0, "loss/d/total": 2.4, "grad_norm_g": 60.0, "loss/g/mel": 20.0, "loss/g/lf0": 0.1}
    history = open_log(write(tmp_path, names))
    assert history.facts["source"] == "vits" and "loss/d/total" in history.facts["unused"]
    assert set(history.signals) == {"gradient_G", "reconstruction"}


def test_hifi_gan_says_nothing_of_its_discriminators(tmp_path):
    write(tmp_path / "logs", {"training/gen_loss_total": 30.0, "training/mel_spec_error": 0.4})
    history = open_log(tmp_path)
    assert history.facts["source"] == "hifi-gan" and set(history.signals) == {"reconstruction"}
    assert any("nothing is told" in text for text in history.facts["remarks"])


def test_our_own_events(tmp_path):
    names = {
        "Balance/loss_D": 0.9,
        "Balance/energy": 0.1,
        "Loss/D/loss": 1.0,
        "Loss/G/loss": 1.0,
        "Loss/scores/real": 1.0,
    }
    history = open_log(write(tmp_path, names, range(3)))
    assert history.facts["source"] == "equipoise" and set(history.signals) == {"loss_D", "energy"}


def test_our_own_runs(tmp_path):
    (tmp_path / "config.json").write_text('{"recipe": {"loss": "rpgan", "batch": 64, "augmentations": {"ada": {}}}}')
    (tmp_path / "data.json").write_text('{"count": 900, "exact_duplicates": 3, "near_duplicates": 4}')
    tick = (
        '{"event": "tick", "kimg": %d, "total_kimg": 9, "balance": {"loss_D": 0.9, "gap": null}, "dials": {"lr": 1}}\n'
    )
    (tmp_path / "run.jsonl").write_text(tick % 1 + '{"event": "skipped", "kimg": 2}\n' + tick % 3 + '{"event": "ti')
    history = open_log(tmp_path)
    assert history.signals == {"loss_D": [(1.0, 0.9), (3.0, 0.9)]} and history.dials == {"lr": [(1.0, 1.0), (3.0, 1.0)]}
    facts = {"loss": "rpgan", "batch": 64, "signless": True, "augmented": True, "total_kimg": 9, "count": 900,
             "duplicates": 7}  # fmt: skip
    assert facts.items() <= history.facts.items()
    assert open_log(tmp_path / "run.jsonl", Told(count=50)).facts["count"] == 50


@pytest.mark.parametrize(("metric", "told"), [("inception", [(1.0, 40.0), (2.0, 30.0)]), (None, None)])
def test_snapshots_of_our_own_runs_tell_a_frechet_distance_where_one_was_asked_for(tmp_path, metric, told):
    """Without `--metric` they are measured by a distance in pixels, which is none."""
    (tmp_path / "config.json").write_text(json.dumps({"recipe": {"loss": "hinge", "batch": 64}, "metric": metric}))
    line = '{"event": "snapshot", "kimg": %s, "by": "FID", "value": %s, "best": 1}\n'
    tick = '{"event": "tick", "kimg": 3, "balance": {"loss_D": 0.9}}\n'
    text = line % (1, 40.0) + line % (2, 30) + line % (3, "null") + line % (4, '"none"') + line % ('"x"', 20) + tick
    (tmp_path / "run.jsonl").write_text(text)
    assert open_log(tmp_path).signals.get("frechet") == told


def test_tables_with_a_mapping(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("iter,d_loss,r,seen,note\n10,1.0,0.5,0.1,a\n20,1.2,nan,0.2,b\n30,0.8,0.7,0.3,c\n")
    history = open_log(path, Told(loss="hinge", batch=100, columns={"d_loss": "loss_D", "r": "sign_real"}))
    assert history.signals["loss_D"] == [(1.0, 0.5), (2.0, 0.6), (3.0, 0.4)]
    assert history.signals["sign_real"] == [(1.0, 0.5), (3.0, 0.7)] and history.facts["unused"] == ["seen"]
    assert open_log(path, Told(columns={"r": "sign_real", "seen": "kimg"})).signals["sign_real"] == [
        (0.1, 0.5),
        (0.3, 0.7),
    ]
    lines = tmp_path / "log.jsonl"
    lines.write_text(
        '{"kimg": 2, "diversity": 0.9, "nested": {"a": 1}}\n{"kimg": 1, "diversity": 0.8}\n{"kimg": 3, "div'
    )
    assert open_log(lines).signals == {"diversity": [(1.0, 0.8), (2.0, 0.9)]}  # signals by their own names


def test_two_discriminators_with_a_mapping(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"iteration": 1, "D_A": 0.25, "D_B": 0.05}\n{"iteration": 2, "D_A": 0.2, "D_B": 0.0}\n')
    columns = {"D_A": "A/loss_D", "D_B": "B/loss_D"}
    history = open_log(path, Told(loss="least-squares", columns=columns))
    assert history.signals["A/loss_D"] == [(1.0, 1.0), (2.0, 0.8)]
    assert history.signals["loss_D"] == [(1.0, 0.6), (2.0, 0.4)]  # the mean, by the ideal value 0.25 of each
    assert history.of("B").signals["loss_D"] == [(1.0, 0.2), (2.0, 0.0)]
    with pytest.raises(InputError, match=r"D_A and D_B are both mapped to loss_D.*A/loss_D and B/loss_D"):
        Told(loss="least-squares", columns=dict.fromkeys(columns, "loss_D"))
    with pytest.raises(InputError, match="no signal"):
        Told(columns={"D_A": "A/nonsense"})


def test_a_reconstruction_that_is_mapped_is_a_ratio_or_nothing(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,l1,nll\n1,4,1\n2,2,1\n3,3,1\n4,1.5,-1\n")
    history = open_log(path, Told(columns={"l1": "reconstruction"}))
    assert history.values("reconstruction") == pytest.approx([4 / 3, 2 / 3, 1.0, 0.5])  # the first three have median 3
    with pytest.raises(InputError, match="nll tells nothing: it begins at 0 or goes below"):
        open_log(path, Told(columns={"nll": "reconstruction"}))
    with pytest.raises(InputError, match=r"tells a signal\. l1 tells nothing: the ideal value .*; log win_rate or gap"):
        open_log(path, Told(loss="wasserstein", columns={"l1": "loss_D"}))


def test_a_mapping_from_a_file(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text('[columns]\n"train/D loss" = "loss_D"\n')
    assert logs.columns_from(path) == {"train/D loss": "loss_D"}
    path.write_text("loss_D = 3\n")
    with pytest.raises(InputError, match="maps no columns"):
        logs.columns_from(path)


def test_what_cannot_be_read_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,critic\n1,2\n")
    for told, text in (
        (None, r"no name in .*log\.csv is known; it has critic"),
        ({"columns": {"critic": "loss_D"}}, "which loss it is decides"),
        ({"columns": {"crtic": "gap"}}, "nothing was logged as 'crtic'; did you mean critic"),
        ({"columns": {"time": "step"}}, "has no column 'time' to tell the time by; it has step, critic"),
    ):
        with pytest.raises(InputError, match=text):
            open_log(path, Told(**told) if told else None)
    with pytest.raises(InputError, match="'gaap', which is no signal; did you mean gap"):
        Told(columns={"critic": "gaap"})
    with pytest.raises(InputError, match="no known loss called 'hing'; did you mean hinge"):
        Told(loss="hing")
    with pytest.raises(InputError, match="there is nothing at"):
        open_log(tmp_path / "nowhere")
    for name, text, said in (
        ("empty.csv", "", r"no number could be read in .*empty\.csv\. A table begins with a line of names"),
        ("nan.jsonl", '{"step": 1, "win_rate": NaN}\n', "not one finite value in win_rate"),
        ("train.log", "step 1 loss 2\n", "is no log that is read: TensorBoard events, a table"),
    ):
        (tmp_path / "each").mkdir(exist_ok=True)
        (tmp_path / "each" / name).write_text(text)
        with pytest.raises(InputError, match=said):
            open_log(tmp_path / "each" / name)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"0 tables .*name the folder of a run"):
        open_log(tmp_path / "none")
    (tmp_path / "other.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"2 tables .*name the file"):
        open_log(tmp_path)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("step,win_rate\n10,0.75\n", "utf-16"),  # as PowerShell redirects
        ("step,win_rate\n10,0.75\n", "utf-8-sig"),
        ("step;win_rate\n10;0,75\n", "utf-8"),  # as spreadsheets write where the decimal point is a comma
        ("step\twin_rate\n10\t0.75\n", "utf-8"),
    ],
)
def test_tables_as_other_programs_write_them(tmp_path, text, encoding):
    path = tmp_path / "log.tsv"
    path.write_bytes(text.encode(encoding))
    assert open_log(path).signals == {"win_rate": [(10.0, 0.75)]}


def test_objects_in_objects_and_numbers_in_quotes(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": "10", "D": {"loss": "2.0", "wins": 0.5}}\n{"step": 20, "D": {"lo')
    told = Told(loss="hinge", columns={"D/loss": "loss_D", "D/wins": "win_rate"})
    assert open_log(path, told).signals == {"loss_D": [(10.0, 1.0)], "win_rate": [(10.0, 0.5)]}


def test_a_run_that_died_of_nan_is_not_cut_to_its_healthy_part(tmp_path):
    path = tmp_path / "log.csv"
    rows = [f"{step},{'nan' if step >= 7 else 0.6},{'' if step % 4 else 0.1 + step / 1e3}" for step in range(12)]
    path.write_text("step,win_rate,energy\n" + "\n".join(rows))
    history = open_log(path)
    assert history.signals["nonfinite"] == [(float(step), 1.0) for step in range(7, 12)] and history.kimg == 11
    (found,) = [one for one in diagnose(history).findings if one.name == "gradient-explodes"]
    assert found.severity == Severity.ALARM and found.evidence[0].since == 7


def test_single_values_that_are_not_finite_and_seldom_logged_ones_are_no_death(tmp_path):
    path = tmp_path / "log.csv"
    rows = [f"{step},{'nan' if step in (3, 10, 11) else 0.6},{'nan' if step % 4 else 0.1}" for step in range(12)]
    path.write_text("step,win_rate,energy\n" + "\n".join(rows))
    assert "nonfinite" not in open_log(path).signals


def test_several_runs_in_a_table_are_not_mixed(tmp_path):
    path = tmp_path / "wandb.csv"
    path.write_text("Step,one - dis_loss,two - dis_loss\n1,1.0,2.0\n")
    with pytest.raises(InputError, match="several runs side by side"):
        open_log(path)


def test_several_runs_in_a_folder_are_not_mixed(tmp_path):
    for run in ("one", "two"):
        write(tmp_path / run, {"training/gen_loss_total": 30.0, "training/mel_spec_error": 0.4})
    with pytest.raises(InputError, match="look like several runs"):
        open_log(tmp_path)
