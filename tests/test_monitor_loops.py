"""What the monitor says of loops unlike the examples: nothing where they are well, and the fault where there is one."""

import pytest
import torch

from loops_monitored import LOOPS

pytestmark = pytest.mark.slow


def grave(name, fault="healthy"):
    """Warnings and alarms over all looks of a run."""
    torch.manual_seed(0)
    found = LOOPS[name][0](fault).found
    return {one.partition(" ")[2] for one in found if one.startswith(("warning", "alarm"))}


@pytest.mark.parametrize("name", ["vocoder", "vae_gan", "domains", "translation"])
def test_loops_that_another_loss_holds_and_that_are_well_raise_no_warning(name):
    assert grave(name) == set()


@pytest.mark.parametrize(
    ("name", "fault", "finding"),
    [
        ("translation", "switched off", "gradient-vanishes"),
        ("vae_gan", "D dies", "gradient-vanishes"),
        ("translation", "D's rate x30", "anchor-lost"),
        ("two_discriminators", "detached", "dead-run"),
        ("wgan_gp", "no penalty", "gradient-explodes"),
    ],
)
def test_a_fault_is_named(name, fault, finding):
    assert finding in grave(name, fault)


def test_a_branch_cut_off_before_a_frozen_discriminator_is_said_to_have_no_share():
    torch.manual_seed(0)
    monitor = LOOPS["vocoder"][0]("detached, D frozen", steps=60)
    assert "no share in G's gradient so far" in monitor.verdict.text()
