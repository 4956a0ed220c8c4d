"""Export as plain PyTorch: the same samples, from code that knows nothing of this package."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import equipoise
from equipoise import samples
from equipoise.apps import export as exporting
from equipoise.apps.export import torch_files
from equipoise.apps.export.plain import plain
from equipoise.errors import InputError
from exported import stirred
from small_runs import images_file, planned, run

FAMILIES = [
    ("mlp", (2,), 0, {}),
    ("mlp", (1, 8, 8), 3, {"norm_G": "batch"}),
    ("dcgan", (1, 16, 16), 0, {"norm_G": "instance"}),
    ("dcgan", (3, 32, 32), 3, {"spectral_G": True}),
    ("resnet", (3, 32, 32), 0, {"norm_G": "layer"}),
    ("resnet", (3, 64, 64), 3, {"spectral_G": True}),
    ("normfree", (3, 16, 16), 0, {}),
    ("normfree", (1, 32, 32), 3, {"patch": 2}),
    ("autoencoder", (1, 16, 16), 0, {}),
]


def compiled(made):
    """The module that the code makes, and its weights loaded."""
    lines = [
        "class Generator(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        self.{name} = {text}" for name, text in made.layers.items()),
        "    def forward(self, latents, labels=None):",
        *(f"        {line}" for line in made.lines),
    ]
    space = {"torch": torch, "nn": nn, "F": nn.functional}
    exec("\n".join(lines), space)
    network = space["Generator"]().eval()
    network.load_state_dict(made.weights)
    return network


@pytest.mark.parametrize(("name", "shape", "classes", "options"), FAMILIES, ids=str)
def test_every_family_gives_the_same_samples_as_plain_code(name, shape, classes, options):
    generator = stirred(name, shape, classes, options)
    latents = torch.randn(5, 6)
    labels = torch.tensor([2, 0, 1, 1, 2]) if classes else None
    got, expected = compiled(plain(generator))(latents, labels), generator(latents, labels)
    assert got.shape == (5, *shape) and got.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    if classes:
        assert not torch.equal(got, compiled(plain(generator))(latents, labels.roll(1)))


def test_every_network_that_is_registered_is_among_them():
    from equipoise.registry import entries

    assert {entry.name for entry in entries("network")} == {family[0] for family in FAMILIES}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A short conditional run with troublesome class names, its export, and the two."""
    folder = tmp_path_factory.mktemp("export")
    source = images_file(folder / "data.npz", classes=3)
    run(folder / "run", planned(source))
    exporting.export(folder / "run", folder / "out")
    return folder / "run", folder / "out"


def test_the_files_run_without_this_package_and_give_the_samples_that_generate_gives(exported):
    folder, out = exported
    assert sorted(path.name for path in out.iterdir()) == ["generator.py", "model.safetensors"]
    code = (
        "import sys, torch; sys.modules['equipoise'] = None; import generator\n"
        "network = generator.load()\n"
        "made, labels = generator.sample(network, range(20), truncation=0.7)\n"
        "threes, same = generator.sample(network, [5], label=2)\n"
        "assert same.tolist() == [2] and generator.to_bytes(made).shape == (20, 8, 8, 1)\n"
        "torch.save((made, labels, threes), 'made.pt')\n"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-c", code], cwd=out, check=True, env=environment)
    made, labels, second = torch.load(out / "made.pt", weights_only=True)
    (out / "made.pt").unlink()
    generator, _ = equipoise.runs.load_network(folder)
    expected, drawn = samples.from_seeds(generator, range(20), truncation=0.7)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
    assert torch.equal(labels, drawn)
    torch.testing.assert_close(second, samples.from_seeds(generator, [5], label=2)[0], rtol=0, atol=1e-6)


def test_nothing_is_overwritten_and_a_wrong_format_is_named(exported, tmp_path):
    folder, out = exported
    with pytest.raises(InputError, match="exists already"):
        exporting.export(folder, out)
    with pytest.raises(InputError, match="torch"):
        exporting.export(folder, tmp_path / "new", ["troch"])
    with pytest.raises(InputError, match="no run folder"):
        exporting.export(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_names_from_a_run_cannot_become_code(tmp_path):
    source = images_file(tmp_path / "data.npz", classes=2)
    run(tmp_path / "run", planned(source))
    config = tmp_path / "run" / "config.json"
    evil = '"""; raise SystemExit\n"'
    text = config.read_text().replace('"0"', '"\\"; raise SystemExit #"').replace('"digits"', json.dumps(evil))
    config.write_text(text)
    exporting.export(tmp_path / "run", tmp_path / "out")
    assert torch_files.load(tmp_path / "out") is not None


class Own(nn.Module):
    """A network of one's own; with `noise` it draws random numbers as it goes."""

    latent_dim, num_classes = 4, 0

    def __init__(self, noise=0.0, deciding=False):
        super().__init__()
        self.layer, self.noise, self.deciding = nn.Linear(4, 64), noise, deciding

    def forward(self, latents, labels=None):
        if self.deciding and latents.sum() > 0:
            latents = -latents
        x = torch.tanh(self.layer(latents))
        x = x + self.noise * torch.randn_like(x) if self.noise else x
        return x.view(-1, 1, 8, 8)


def fitted(folder, generator):
    judge = equipoise.DiscriminatorAdapter(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    gan = equipoise.GAN(generator=generator, discriminator=judge)
    gan.fit(torch.rand(40, 1, 8, 8), kimg=0.2, out=folder)
    return gan


def test_networks_of_ones_own_are_exported_from_python(tmp_path):
    own = equipoise.GeneratorAdapter(
        nn.Sequential(nn.Linear(4, 64), nn.Sigmoid()), lambda net, z, y: net(z).view(-1, 1, 8, 8) * 2 - 1, latent_dim=4
    )
    gan = fitted(tmp_path / "run", own)
    with pytest.raises(InputError, match="networks of your own"):
        exporting.export(tmp_path / "run", tmp_path / "out")
    exporting.export(tmp_path / "run", tmp_path / "out", generator=gan.generator)
    latents = torch.randn(3, 4)
    assert torch.equal(torch_files.load(tmp_path / "out")(latents), gan.generator(latents))


@pytest.mark.parametrize(("options", "why"), [({"noise": 0.1}, "random numbers"), ({"deciding": True}, "decisions")])
def test_what_cannot_be_written_out_is_refused_in_a_sentence(tmp_path, options, why):
    gan = fitted(tmp_path / "run", Own(**options))
    with pytest.raises(InputError, match=why):
        exporting.export(tmp_path / "run", tmp_path / "out", generator=gan.generator)
    assert not (tmp_path / "out").exists()
