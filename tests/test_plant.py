"""Controllers in our own trainer: they act, say so in the journal, bring what they turn, rest, and resume exactly."""

import json

import pytest
import torch
from safetensors.torch import load_file

from equipoise import checkpoint, step_state, train
from equipoise.errors import InputError
from equipoise.plant import Plant, steered
from equipoise.tempo import Tempo
from small_runs import TINY, bits, images_file, journal, planned, run


def moves(folder):
    return [line for line in journal(folder) if line["event"] == "move"]


@pytest.fixture
def source(tmp_path):
    return images_file(tmp_path / "images.npz")


def acting(source, controller="rates-by-wins", settings=TINY, **asked):
    return planned(source, settings, balance="act", controller=controller, **asked)


def test_acting_turns_the_dial_and_says_why(tmp_path, source):
    run(tmp_path / "run", acting(source))
    found = moves(tmp_path / "run")
    assert found and all(line["actuator"] == "D.lr" and line["done"] and "win_rate" in line["why"] for line in found)
    ticks = [line for line in journal(tmp_path / "run") if line["event"] == "tick"]
    assert ticks[-1]["dials"]["D.lr"] != ticks[0]["dials"]["D.lr"]


def test_watching_a_controller_changes_no_bit(tmp_path, source):
    run(tmp_path / "plain", planned(source))
    run(tmp_path / "watched", planned(source, controller="rates-by-wins"))
    assert bits(tmp_path / "plain") == bits(tmp_path / "watched")
    assert moves(tmp_path / "watched") and not any(line["done"] for line in moves(tmp_path / "watched"))


@pytest.mark.parametrize("controller", ["rates-by-wins", "steps-by-gap", "gamma-by-slope", "ada-heldout"])
def test_stopped_and_resumed_it_ends_in_the_same_bits(tmp_path, source, controller):
    asked = acting(source, controller, ("D.steps=1.5", *TINY) if controller == "steps-by-gap" else TINY)
    run(tmp_path / "whole", asked)
    run(tmp_path / "parts", asked, stops=(7, 23))
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")


def test_the_autopilots_snapshots_survive_a_stop(tmp_path, source):
    asked = acting(source, "autopilot", kimg=2.0)
    run(tmp_path / "whole", asked)
    run(tmp_path / "parts", asked, stops=(190, 20))
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    assert journal(tmp_path / "parts") == journal(tmp_path / "whole")
    kept = load_file(checkpoint.find(tmp_path / "whole") / checkpoint.SNAPSHOTS)
    assert any("/choice/latest/" in name for name in kept) and any("/keeper/" in name for name in kept)


def test_plain_data_and_tensors_part_and_join():
    memory = {"a": [1, (2.5, torch.ones(2))], "b": {"c": torch.zeros(1), "d": None}, "e": "x"}
    plain, tensors = step_state.parted(memory)
    again = step_state.joined(json.loads(json.dumps(plain)), tensors)
    assert set(tensors) == {"/a/1/1", "/b/c"}
    assert again["a"][0] == 1 and again["a"][1][0] == 2.5 and torch.equal(again["a"][1][1], torch.ones(2))
    assert torch.equal(again["b"]["c"], torch.zeros(1)) and again["b"]["d"] is None and again["e"] == "x"


def test_a_controller_brings_what_it_turns_only_where_it_acts(source):
    assert acting(source, "ada").config.recipe.augmentations["ada"]["p"] == 0.0
    assert not planned(source, controller="ada").config.recipe.augmentations


def test_the_recipes_own_strength_stays(source):
    assert acting(source, "ada", ("ada.p=0.3", *TINY)).config.recipe.augmentations["ada"]["p"] == 0.3


def plant(source, *settings):
    asked = acting(source, "ada-heldout", (*settings, *TINY))
    step, dials, batches = train.start(asked.config, asked.dataset, None)
    return Plant(asked.config, step, dials, Tempo(1.0), batches)


def test_a_term_of_no_strength_rests_and_comes_back(source):
    made = plant(source, "r1.gamma=1.0")
    gamma = made.actuator("r1.gamma", 0.0, 10.0)
    assert made.step.due("D") == {"r1"}
    gamma.move(-1.0)
    assert made.step.due("D") == frozenset()
    gamma.move(2.0)
    assert made.step.due("D") == {"r1"} and float(made.step.objective.terms["r1"].gamma) == 2.0


def test_back_to_a_captured_moment(source):
    made = plant(source)
    kept, before = made.capture(), bits_of(made)
    for _ in range(3):
        images, labels = made.batches.next()
        made.step.move("D", images, labels)
        made.step.move("G", images, labels)
    assert not same(bits_of(made), before)
    made.put_back(kept)
    assert same(bits_of(made), before)


def test_a_dial_in_a_network_does_not_go_back_with_it(source):
    made = plant(source, "network.norm_D=spectral", "network.sn_multiplier=2.0")
    (name,) = (name for name in made.dials if name.endswith("multiplier"))
    kept = made.capture()
    made.dials[name].set(3.0)
    made.put_back(kept)
    made.dials[name].turn(100, 1000)  # which stands still
    assert float(made.dials[name].tensor) == 3.0


def bits_of(made):
    networks = [made.step.networks["G"], made.step.networks["D"], made.step.ema.average]
    moments = [t for role in ("D", "G") for t in made.step.optimisers[role].state_dict().values()]
    return [t.clone() for n in networks for t in n.state_dict().values()] + [t.clone() for t in moments]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_what_is_not_there_is_named(source):
    with pytest.raises(InputError, match=r"nothing called 'r1.gama'"):
        plant(source).actuator("r1.gama", 0.0, 1.0)


def test_config_remembers_the_controller(tmp_path, source):
    run(tmp_path / "run", acting(source))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["controller"] == "rates-by-wins"


@pytest.mark.parametrize(
    ("settings", "noted"),
    [(("loss=wasserstein",), False), (("loss=rpgan",), False), (("loss=least-squares",), False),
     (("loss=hinge",), True), (("loss=hinge", "feature-matching=true"), True)],
)  # fmt: skip
def test_the_live_verdict_believes_signs_only_where_an_undecided_discriminator_says_0(source, settings, noted):
    """A critic's logits may all be above 0, and so are those of least squares, whose undecided D says 0.5."""
    verdict = steered(plant(source, *settings)).decide(1000, {"sign_real": 1.0}).verdict
    assert ("discriminator-memorises" in {one.name for one in verdict.findings}) == noted
