"""Ways through a latent space: their stops, their arcs, their classes, and that they close."""

import math

import pytest
import torch

from equipoise import networks, samples
from equipoise.apps.ways import along, plan_way, slerp, walk
from equipoise.errors import InputError
from equipoise.networks.conditioning import Blended, class_tables
from test_samples import Generator

FAMILIES = {
    "mlp": {"input.embedding.weight"},
    "normfree": {"input.embedding.weight"},
    "dcgan": {"input.embedding.weight"},
    "resnet": {"blocks.0.norm_1.scale", "blocks.0.norm_1.shift", "blocks.0.norm_2.scale", "blocks.0.norm_2.shift"},
}


def made(family, classes=3):
    torch.manual_seed(0)
    generator = networks.build(family, (1, 8, 8), latent_dim=6, num_classes=classes, width=8)[0]
    for name in class_tables(generator):  # batch norm's start at one for every class
        torch.nn.init.normal_(generator.get_parameter(name))
    return generator.eval()


def test_a_closed_way_comes_back_and_an_open_one_ends_at_its_last_stop():
    stops = torch.tensor([[0.0], [3.0], [9.0]])
    assert along(stops, 6, True, torch.lerp).flatten().tolist() == [0, 1.5, 3, 6, 9, 4.5]
    assert along(stops, 5, False, torch.lerp).flatten().tolist() == [0, 1.5, 3, 6, 9]
    assert along(stops[:1], 3, True, slerp).flatten().tolist() == [0, 0, 0]
    assert along(stops[1:2], 1, False, torch.lerp).flatten().tolist() == [3]


def test_slerp_keeps_the_norm_and_halves_the_angle():
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    half = slerp(a, b, torch.tensor(0.5))
    assert torch.allclose(half, torch.tensor([math.sqrt(2), math.sqrt(2), 0.0]), atol=1e-6)
    assert torch.allclose(slerp(a, b, torch.tensor(1 / 3)), 2 * torch.tensor([math.cos(math.pi / 6), 0.5, 0.0]))
    start, end = torch.nn.functional.normalize(torch.randn(2, 50, 64, generator=torch.manual_seed(0)), dim=-1)
    for share in (0.1, 0.5, 0.8):
        assert torch.allclose(slerp(start, end, torch.tensor(share)).norm(dim=-1), torch.ones(50), atol=1e-5)
    assert torch.lerp(start, end, 0.5).norm(dim=-1).max() < 0.95  # what a line would do


def test_slerp_without_an_arc_is_a_line():
    a = torch.tensor([[1.0, 2.0]])
    assert torch.allclose(slerp(a, -a, torch.tensor(0.25)), a / 2)
    assert torch.equal(slerp(a, a, torch.tensor(0.3)), a)
    assert torch.allclose(slerp(a, 3 * a, torch.tensor(0.5)), 2 * a)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_share_is_the_class_and_halves_are_the_middle_of_its_vectors(family):
    generator = made(family)
    assert FAMILIES[family] <= set(class_tables(generator))
    latents, labels = torch.randn(7, 6), torch.tensor([0, 1, 2, 2, 1, 0, 1])
    with torch.no_grad():
        whole = Blended(generator)(latents, torch.nn.functional.one_hot(labels, 3).float())
        assert torch.equal(whole, generator(latents, labels))
        halves = Blended(generator)(latents, torch.tensor([[0.0, 0.5, 0.5]]).expand(7, 3))
        assert not torch.allclose(halves, generator(latents, labels * 0), atol=1e-3)
        for name in class_tables(generator):
            table = generator.get_parameter(name)
            table[0] = (table[1] + table[2]) / 2
        assert torch.allclose(halves, generator(latents, labels * 0), atol=1e-5)


def test_classes_that_are_no_vectors_cannot_be_blended():
    with pytest.raises(InputError, match="nothing lies between"):
        Blended(Generator(3))


@pytest.mark.parametrize("classes", [0, 3])
def test_a_walk_passes_the_samples_of_its_seeds_and_closes(classes):
    generator = made("mlp", classes) if classes else Generator()
    seen = list(walk(generator, plan_way(generator, range(5, 11), walks=2), frames=60))
    assert len(seen) == 60
    for stop in range(3):
        own = samples.from_seeds(generator, [5 + 2 * stop, 6 + 2 * stop])[0]
        assert torch.equal(seen[20 * stop], own)
    steps = torch.stack([(after - before).norm() for before, after in zip(seen, [*seen[1:], seen[0]], strict=True)])
    assert steps.min() > 0 and steps[-1] < 3 * steps.median() and steps.max() < 4 * steps.median()


def test_classes_and_truncations_are_passed_while_the_seeds_stay():
    generator = made("mlp")
    way = plan_way(generator, [4, 5], walks=2, classes=[2, 0], truncations=[1.0, 0.0, 0.5])
    assert way.stops == 3 and way.latents.shape == (1, 2, 6) and way.shares.shape == (2, 2, 3)
    latents, shares = way.at(6, closed=True)
    own = samples.draw(generator, [4, 5])[0]
    assert torch.allclose(latents, own * torch.tensor([1, 0.5, 0, 0.25, 0.5, 0.75])[:, None, None])
    expected = torch.tensor(
        [[0, 0, 1], [1 / 3, 0, 2 / 3], [2 / 3, 0, 1 / 3], [1, 0, 0], [2 / 3, 0, 1 / 3], [1 / 3, 0, 2 / 3]]
    )
    assert torch.allclose(shares, expected[:, None].expand(6, 2, 3))


def test_a_walk_does_not_depend_on_how_its_frames_are_worked_off(monkeypatch):
    generator = made("dcgan")
    way = plan_way(generator, range(6), walks=3)
    together = torch.stack(list(walk(generator, way, 9)))
    monkeypatch.setattr("equipoise.apps.ways.BLOCK", 3)
    assert torch.equal(together, torch.stack(list(walk(generator, way, 9))))


def test_seeds_that_cannot_be_dealt_are_refused():
    with pytest.raises(InputError, match="5 seeds cannot be dealt to 2 walks"):
        plan_way(Generator(), range(5), walks=2)
