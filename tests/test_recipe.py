"""Recipes: every shipped one builds, every path can be set, and what is wrong is said in one sentence."""

import dataclasses
import json

import pytest
import torch

from equipoise import build
from equipoise.errors import InputError
from equipoise.paths import parse_assignment, read_toml
from equipoise.recipe import Network, Player, Recipe
from equipoise.recipes import suggested
from equipoise.registry import entries, find
from equipoise.schedules import Schedule

RECIPES = [entry.name for entry in entries("recipe")]
SHAPES = {"ring": [(2,)], "digits": [(1, 8, 8), (3, 16, 16)]}


def shipped(name, shape=(3, 32, 32)):
    return find("recipe", name).part(SHAPES.get(name, [shape])[0], 1000)


def test_the_recipes_are_these():
    assert RECIPES == ["baseline", "dcgan", "digits", "grid", "ring", "sngan", "stacked", "wgan-gp"]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("classes", [0, 3])
def test_every_recipe_makes_a_step_and_its_dials_at_each_of_its_sizes(name, classes):
    for shape in SHAPES.get(name, [(1, 8, 8), (3, 16, 16), (3, 64, 64)]):
        recipe = find("recipe", name).part(shape, 1000).with_values({"network.width": 4, "batch": 4})
        assert recipe.name == name
        step = build.assemble(recipe, *build.players(recipe, shape, classes), torch.device("cpu"))
        dials = build.dials(step, recipe)
        for samples in (0, 500, 1000):
            for dial in dials.values():
                dial.turn(samples, 1000)
        assert {n for n, d in dials.items() if d.schedule} >= {n for n in recipe.schedules if "." in n}
        images = torch.rand(4, *shape) * 2 - 1
        labels = torch.randint(classes, (4,)) if classes else None
        for role in ("D", "G"):
            step.move(role, images, labels, step.due(role))
        assert step.meter.read()["D.skipped"].mean == 0.0


@pytest.mark.parametrize("name", RECIPES)
def test_plain_data_and_back_through_json(name):
    recipe = shipped(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict(), allow_nan=False))) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_that_is_printed_can_be_set_to_itself_and_from_scratch(name):
    recipe = shipped(name)
    values = recipe.values()
    assert len(values) > 20 and not any(isinstance(v, dict) for v in values.values())
    for path, value in values.items():
        assert recipe.with_values({path: value}) == recipe, path
    assert Recipe().with_values(values) == recipe
    for path in values:
        text = json.dumps(values[path]) if values[path] is not None else "none"
        assert recipe.with_values(dict([parse_assignment(f"{path}={text}")])) == recipe, path


def test_values_by_path():
    recipe = Recipe().with_values(
        {"G.lr": 1e-3, "network.width": 16, "r1.gamma": 2.5, "schedules.r1.gamma": "cosine", "D.steps": 0.5,
         "network.norm_D": "layer", "schedules.lr.end": 0.1, "schedules.lr.shape": "linear", "terms.r2.every": 4},
    )  # fmt: skip
    assert recipe.G.lr == 1e-3 and recipe.D.lr == Player().lr and recipe.D.steps == 0.5
    assert recipe.network == Network(width=16, options={"norm_D": "layer"})
    assert recipe.terms == {"r1": {"gamma": 2.5}, "r2": {"every": 4}}
    assert recipe.schedules == {"r1.gamma": Schedule("cosine"), "lr": Schedule("linear", end=0.1)}


def test_setting_makes_a_copy():
    base = Recipe(terms={"r1": {"gamma": 1.0}})
    base.with_values({"r1.gamma": 9.0, "network.norm_D": "layer", "schedules.lr": "cosine", "r2": True})
    assert base == Recipe(terms={"r1": {"gamma": 1.0}})
    data = base.as_dict()
    data["terms"]["r1"]["gamma"] = 7.0
    assert base.terms["r1"]["gamma"] == 1.0


@pytest.mark.parametrize("off", [False, None])
def test_terms_and_schedules_are_switched_on_and_off(off):
    base = Recipe()
    on = base.with_values({"r1": True, "wgan-gp.weight": 5, "schedules.lr": "cosine"})
    assert on.terms == {"r1": {}, "wgan-gp": {"weight": 5.0}} and on.schedules == {"lr": Schedule("cosine")}
    assert on.with_values({"r1": True}) == on
    assert on.with_values({"r1": off, "wgan-gp": off, "schedules.lr": off}) == base
    assert base.with_values({"r1": off, "schedules.lr": off}) == base
    assert base.with_values({"r1.gamma": 2.0, "terms.r1": {"every": 4}}).terms == {"r1": {"gamma": 2.0, "every": 4}}


@pytest.mark.parametrize(
    ("path", "given", "kept"),
    [
        ("G.lr", 1, 1.0),
        ("r1.gamma", 3, 3.0),
        ("batch", 32.0, 32),
        ("r1.every", 4.0, 4),
        ("schedules.lr.end", 0, 0.0),
        ("mirror", "auto", None),
        ("mirror", False, False),
        ("network.init", None, None),
        ("network.conditional", True, True),
    ],
)
def test_numbers_take_the_type_of_the_setting(path, given, kept):
    value = Recipe().with_values({path: given})
    for key in path.removeprefix("schedules.").split("."):
        if isinstance(value, Recipe) and key in ("r1", "lr"):
            value = value.terms[key] if key == "r1" else value.schedules[key]
        else:
            value = value[key] if isinstance(value, dict) else getattr(value, key)
    assert value == kept and type(value) is type(kept)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("G.rl", "lr"),
        ("G.beta", "beta1 or beta2"),
        ("bacth", "batch"),
        ("network.widht", "width"),
        ("network.norm_d", "norm_D"),
        ("r1.gama", "gamma"),
        ("r3.gamma", "r1.gamma or r2.gamma"),
        ("wgan_gp", "wgan-gp"),
        ("accumulat", "accumulate"),
    ],
)
def test_a_misspelt_path_suggests_the_near_ones(path, near):
    with pytest.raises(InputError) as caught:
        Recipe().with_values({path: 1})
    text = str(caught.value)
    assert "did you mean" in text and all(n in text.split("did you mean")[1] for n in near.split(" or ")), text


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("G.lr", "fast", "G.lr='fast' is a str, and G.lr must be float"),
        ("G.lr", True, "G.lr=True is a bool, and G.lr must be float"),
        ("batch", 1.5, "batch=1.5 is a float, and batch must be int"),
        ("batch", True, "batch=True is a bool, and batch must be int"),
        ("batch", None, "batch must be int"),
        ("r1.gamma", "big", "r1.gamma must be float"),
        ("r1.every", [1], "r1.every must be int"),
        ("r1", 0.5, "a term is switched on or off; its strength is set by r1.gamma"),
        ("terms.r1", {"gama": 1.0}, "r1 has no setting called 'gama'; did you mean gamma"),
        ("r1", {"gamma": "big"}, "r1.gamma='big' is a str, and r1.gamma must be float"),
        ("mixed", "yes", "mixed must be bool or none"),
        ("G", 1, "G is a group, not a value; set one of G.optimiser"),
        ("network", "mlp", "network is a group, not a value; set one of network.name"),
        ("network.options", 3, "network.options=3 is a group"),
        ("G.lr.x", 1, "names nothing; set G.lr"),
        ("schedules.lr", 0.5, "write schedules.lr=cosine"),
        ("schedules", "cosine", "write schedules.lr=cosine"),
        ("schedules.lr", "cosin", "did you mean cosine"),
        ("schedules.lr.end", "low", "schedules.lr.end"),
        ("batch", 1, "a multiple of accumulate, from 2"),
        ("accumulate", 3, "a multiple of accumulate"),
        ("kimg", 0, "must be above 0"),
        ("kimg", float("nan"), "must be above 0"),
        ("G.steps", 2, "set D.steps"),
        ("terms", {}, "there is no setting called 'terms'"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(path, value, says):
    with pytest.raises(InputError) as caught:
        Recipe().with_values({path: value})
    assert says in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "rpgna"}, "no loss called 'rpgna'; did you mean rpgan"),
        ({"network.name": "dcgna"}, "no network called 'dcgna'; did you mean dcgan"),
        ({"network.expansion": 2, "network.name": "mlp"}, "'mlp' has no option 'expansion'"),
        ({"schedules.r1.gamma": "cosine"}, "nothing called 'r1.gamma' to schedule"),
        ({"r1.gamma": -1.0}, "gamma must be 0 or more"),
        ({"D.beta2": 1.0}, "beta2 from 0 to below 1"),
        ({"network.init": "orthogonl"}, "did you mean orthogonal"),
        ({"ema_kimg": -1.0}, "both must be 0 or more"),
    ],
)
def test_what_only_the_parts_can_tell_is_said_when_they_are_made(changes, says):
    recipe = Recipe(network=Network(width=4, latent_dim=4), batch=4).with_values(changes)
    with pytest.raises(InputError) as caught:
        step = build.assemble(recipe, *build.players(recipe, (1, 8, 8), 0), torch.device("cpu"))
        build.dials(step, recipe)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_part_is_not_made_with_settings_that_it_does_not_have():
    with pytest.raises(InputError, match="r1 cannot be made with"):
        build.objective(Recipe(terms={"r1": {"gama": 1.0}}))


def test_a_table_of_settings_is_the_settings_one_by_one():
    table = Recipe().with_values({"r1": {"gamma": 1, "every": 4.0}})
    assert table == Recipe().with_values({"r1.gamma": 1.0, "r1.every": 4})
    assert [type(value) for value in table.terms["r1"].values()] == [float, int]
    assert Recipe().with_values({"r1": {}}).terms["r1"] == Recipe().with_values({"r1": True}).terms["r1"]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("G.lr=2e-4", "G.lr", 2e-4),
        ("batch = 64", "batch", 64),
        ("mirror=true", "mirror", True),
        ("r1=off", "r1", False),
        ("r2=ON", "r2", True),
        ("network.init=none", "network.init", None),
        ("loss=rpgan", "loss", "rpgan"),
        ('loss="rpgan"', "loss", "rpgan"),
        ("name=a=b", "name", "a=b"),
        ("name=", "name", ""),
    ],
)
def test_assignments_from_the_command_line(text, path, value):
    found = parse_assignment(text)
    assert found == (path, value) and type(found[1]) is type(value)


def test_none_is_the_name_of_a_normalisation_and_otherwise_no_value():
    recipe = Recipe(network=Network("dcgan", width=4)).with_values(dict(map(parse_assignment, [
        "network.norm_D=none", "network.norm_G=none", "network.init=none", "network.sn_multiplier=none"
    ])))  # fmt: skip
    assert recipe.network.init is None
    assert recipe.network.options == {"norm_D": "none", "norm_G": "none", "sn_multiplier": None}
    build.players(recipe, (1, 8, 8), 0)


@pytest.mark.parametrize("text", ["G.lr", "=3", " =3"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(InputError, match="write path=value"):
        parse_assignment(text)


def test_toml_tables_are_paths(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'loss = "rpgan"\nbatch = 16\nr2 = false\n[G]\nlr = 1e-3\n[r1]\ngamma = 2\n[schedules.lr]\nshape = "cosine"\n'
    )
    recipe = Recipe(terms={"r2": {}}).with_values(read_toml(path))
    assert (recipe.loss, recipe.batch, recipe.G.lr) == ("rpgan", 16, 1e-3)
    assert recipe.terms == {"r1": {"gamma": 2.0}} and recipe.schedules == {"lr": Schedule("cosine")}


@pytest.mark.parametrize("content", [b"G.lr = ", b"\xff\xfe", None])
def test_a_file_that_is_no_toml_is_refused(tmp_path, content):
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as TOML"):
        read_toml(path)


@pytest.mark.parametrize("where", [(), ("network",), ("G",), ("schedules", "lr")])
def test_settings_of_another_version_are_refused(where):
    data = Recipe(schedules={"lr": Schedule("cosine")}).as_dict()
    node = data
    for key in where:
        node = node[key]
    node["nesterov"] = True
    with pytest.raises(InputError, match=r"nesterov.*written by another version"):
        Recipe.from_dict(data)


def test_the_baseline_is_r3gans_burn_in():
    recipe = shipped("baseline", (3, 32, 32))
    step = build.assemble(small := recipe.with_values({"network.width": 4}), *build.players(small, (3, 32, 32), 0),
                          torch.device("cpu"))  # fmt: skip
    dials = build.dials(step, recipe)
    full = recipe.terms["r1"]["gamma"]
    for samples, part, beta2, lr in ((0, 1.0, 0.9, 1.0), (500, 0.55, 0.945, 0.625), (1000, 0.1, 0.99, 0.25)):
        for dial in dials.values():
            dial.turn(samples, 1000)
        assert float(step.objective.terms["r1"].gamma) == pytest.approx(part * full, rel=1e-5)
        assert float(step.objective.terms["r2"].gamma) == pytest.approx(part * full, rel=1e-5)
        for role in ("D", "G"):
            assert float(step.optimisers[role].beta2) == pytest.approx(beta2, rel=1e-5)
            assert float(step.optimisers[role].lr) == pytest.approx(lr * recipe.G.lr, rel=1e-5)
    assert float(step.ema.halflife) == pytest.approx(recipe.ema_kimg)


def test_a_recipe_for_data_that_names_none():
    assert suggested((2,), 100)[0] == "ring"
    assert suggested((1, 8, 8), 100)[0] == "digits"
    assert suggested((3, 32, 32), 100)[0] == "baseline"
    assert {suggested(shape, 10)[0] for shape in ((2,), (1, 8, 8), (3, 64, 64))} <= set(RECIPES)


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().batch = 3
