"""Columns that no family claims: what is mapped is put in relation, and no name alone makes a signal."""

import json

import pytest

from equipoise.errors import InputError
from equipoise.logs import Told, open_log
from equipoise.logs.judge import judge


def table(path, **columns):
    """A CSV of ten steps: name to value, or to a function of the step."""
    rows = [[step, *(value(step) if callable(value) else value for value in columns.values())] for step in range(10)]
    path.write_text("\n".join(",".join(map(str, row)) for row in [["step", *columns], *rows]) + "\n")
    return path


def last(path, name="loss_D", **told):
    return open_log(path, Told(**told)).values(name)[-1]


def test_the_memory_of_a_device_is_no_memory_of_the_data(tmp_path):
    """As MMEngine writes it (scalars.json), and MMCV before it: megabytes in use."""
    path, row = (
        tmp_path / "scalars.json",
        {"lr": 1e-4, "memory": 3000, "loss_disc_fake": 0.5, "loss_disc_real": 0.7, "win_rate": 0.6},
    )
    path.write_text("".join(json.dumps(row | {"iter": step, "step": step}) + "\n" for step in range(100, 2001, 100)))
    judged = judge(path)
    assert set(judged.history.signals) == {"win_rate"} and "memory" in judged.history.facts["unused"]
    assert judged.exit_code == 0 and not judged.verdict.findings
    assert set(open_log(path, Told(columns={"memory": "memory"})).signals) == {"win_rate", "memory"}


def test_columns_called_as_our_losses_are_plain_losses(tmp_path):
    path = table(tmp_path / "log.csv", loss_D=1.9, loss_G=0.8)
    with pytest.raises(
        InputError, match=r"log\.csv: loss_D is taken to be a plain loss, and tells nothing until --loss says which"
    ):
        open_log(path)
    assert last(path, loss="hinge") == pytest.approx(0.95)
    assert last(path, "loss_G", loss="non-saturating") == pytest.approx(0.8 / 0.6931471806)
    assert last(path, loss="hinge", columns={"loss_G": "loss_D"}) == pytest.approx(0.4)  # mapped otherwise
    ours = table(tmp_path / "ours.csv", **{"Balance/loss_D": 0.9, "loss_D": 1.9})
    assert last(ours) == 0.9  # those of our own event files, exported


def test_shares_in_per_cent_are_none_and_what_is_taken_by_its_name_is_said(tmp_path):
    path = table(tmp_path / "log.csv", precision=lambda step: 80.0 + step, recall=0.7, auc=0.8)
    history = open_log(path)
    assert set(history.signals) == {"recall", "auc"}
    assert "precision has values outside 0 to 1, and so is no such signal" in history.facts["remarks"]
    assert any(
        one.startswith("auc and recall are taken for the signals of these names") for one in history.facts["remarks"]
    )


def test_names_in_groups_are_not_ours_and_no_several_runs(tmp_path):
    path = table(tmp_path / "log.csv", **{"train/energy": 0.9, "val/energy": 0.9, "churn": 0.1})
    history = open_log(path)
    assert set(history.signals) == {"churn"} and history.facts["unused"] == ["train/energy", "val/energy"]
    assert last(path, "energy", columns={"val/energy": "energy"}) == 0.9


def test_parts_and_halves_of_a_loss(tmp_path):
    path = table(tmp_path / "log.csv", real=0.5, fake=0.7, half=0.6)
    parts, half = {"real+fake": "loss_D"}, {"2*half": "loss_D"}
    for columns in (parts, half, {"0.5*real + 0.5*fake+half": "loss_D"}):
        assert last(path, loss="non-saturating", columns=columns) == pytest.approx(1.2 / 1.3862943611)
    assert open_log(path, Told(loss="hinge", columns=parts)).facts["unused"] == ["half"]
    for columns, said in (
        ({"real+fak": "loss_D"}, "nothing was logged as 'fak'; did you mean fake"),
        ({"two*half": "loss_D"}, "nothing was logged as 'half'"),
    ):
        with pytest.raises(InputError, match=said):
            open_log(path, Told(loss="hinge", columns=columns))
    with pytest.raises(InputError, match=r"parts of one loss as their sum, --map 'real\+fake=loss_D'"):
        Told(loss="hinge", columns={"real": "loss_D", "fake": "loss_D"})


def test_what_a_loss_is_held_against_is_said(tmp_path):
    """A mean over real and generated samples, as Keras-GAN has it, reads half: a note would be false."""
    path = table(tmp_path / "log.csv", d_loss=lambda step: 0.65 + step % 3 / 100)
    judged = judge(path, Told(loss="non-saturating", columns={"d_loss": "loss_D"}))
    assert "d_loss is put in relation to 1.386" in judged.text() and "--map '2*d_loss=loss_D'" in judged.text()
    assert judge(path, Told(loss="non-saturating", columns={"2*d_loss": "loss_D"})).verdict.findings == ()


def test_a_loss_below_0_is_not_the_one_that_was_told(tmp_path):
    path = table(tmp_path / "log.csv", d_loss=-3.0, churn=0.1)
    history = open_log(path, Told(loss="non-saturating", columns={"d_loss": "loss_D"}))
    assert set(history.signals) == {"churn"}
    assert any("d_loss tells nothing: it goes below 0, which non-saturating never does" in one
               for one in history.facts["remarks"])  # fmt: skip
    assert last(path, "loss_G", loss="minimax", columns={"d_loss": "loss_G"}) > 0  # there it may


def test_a_discriminator_that_waits_is_not_ahead(tmp_path):
    path = table(
        tmp_path / "log.csv", late=lambda step: 0.0 if step < 4 else 1.3, off=0.0, won=lambda step: 0.1 / (step + 1)
    )
    told = Told(loss="hinge", columns={"late": "loss_D"})
    assert [at for at, _ in open_log(path, told).signals["loss_D"]] == [4, 5, 6, 7, 8, 9]
    assert any(one.startswith("late is 0 at first") for one in open_log(path, told).facts["remarks"])
    with pytest.raises(InputError, match="off is 0 throughout, and tells nothing"):
        open_log(path, Told(loss="hinge", columns={"off": "loss_D"}))
    (found,) = judge(path, Told(loss="hinge", columns={"won": "loss_D"})).verdict.findings
    assert found.name == "discriminator-overpowers"


def test_a_table_without_a_head_asks_for_one(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("0,0.69,1.1\n1,0.7,1.2\n")
    with pytest.raises(InputError, match=r"log\.csv begins with numbers; write a line of names on top"):
        open_log(path)


def test_an_object_of_lists_is_a_table(tmp_path):
    """As `json.dump(history.history)` of Keras writes it."""
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"d_loss": [0.7, 0.6, 0.65], "g_loss": [0.8, 0.9]}))
    history = open_log(path, Told(loss="hinge", columns={"2*d_loss": "loss_D"}))
    assert history.values("loss_D") == pytest.approx([0.7, 0.6, 0.65]) and history.facts["unused"] == ["g_loss"]
    path.write_text(json.dumps({"churn": 0.5, "sizes": [1, 2]}))
    assert open_log(path).signals == {"churn": [(0.0, 0.5)]}


@pytest.mark.parametrize("moments", [1, 4, 5])
def test_few_moments_are_called_few(tmp_path, moments):
    path = tmp_path / "log.csv"
    path.write_text("step,churn\n" + "".join(f"{step},0.1\n" for step in range(moments)))
    said = [one for one in open_log(path).facts["remarks"] if "too few" in one]
    assert said == ([] if moments == 5 else [f"it has {moments} moment{'s' * (moments > 1)}: too few to tell whether "
                                             "anything changes"])  # fmt: skip
