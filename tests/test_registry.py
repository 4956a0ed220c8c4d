"""Finding parts by name: near misses, listings, and names that are taken."""

import subprocess
import sys

import pytest

from equipoise import registry
from equipoise.errors import InputError
from equipoise.registry import HOMES, add, entries, find, register, suggest
from equipoise.sensors import sensor
from equipoise.terms import Loss


@pytest.fixture(autouse=True)
def _restore(monkeypatch):
    entries()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def test_near_misses_are_suggested():
    with pytest.raises(InputError) as caught:
        find("loss", "non-saturatng")
    assert str(caught.value) == "there is no loss called 'non-saturatng'; did you mean non-saturating?"


def test_without_a_near_miss_everything_is_listed():
    with pytest.raises(InputError, match=r"no schedule called 'zzz'; there are: constant, cosine, linear\."):
        find("schedule", "zzz")
    assert suggest("a", []) == "; there are: ."


def test_a_part_is_named_after_itself_unless_told_otherwise():
    @register("loss", claim="for this test", speed="slow")
    def My_Loss():
        pass

    found = find("loss", "my-loss")
    assert (found.part, found.claim, found.facts) == (My_Loss, "for this test", {"speed": "slow"})
    assert find("loss", "my-loss") in entries("loss") and My_Loss.__name__ == "My_Loss"

    @register("loss", "another", paper="arXiv:1406.2661")
    def my_loss():
        pass

    assert find("loss", "another").paper == "arXiv:1406.2661"


@pytest.mark.parametrize("kind", ["term", "network", "loss", "sensor", "schedule", "recipe"])
def test_a_shipped_name_cannot_be_taken_over_by_another_module(kind):
    name = entries(kind)[0].name

    def part(real_logits):
        return real_logits

    with pytest.raises(ValueError, match=f"{name!r} is registered already, by equipoise"):
        if kind == "sensor":
            from equipoise.sensors import Sensor

            add(kind, name, Sensor(name, "D", part))
        else:
            add(kind, name, Loss(part, part) if kind == "loss" else part)
    assert find(kind, name).part is not part


def test_ones_own_part_may_be_defined_anew():
    """As in a notebook whose cell runs twice."""

    def twice():
        @sensor("D")
        def mine(real_score):
            """A test's own."""
            return real_score

        @register("loss", "own")
        def own():
            pass

        add("loss", "pair", Loss(own, own))
        return mine

    twice()
    again = twice()
    assert find("sensor", "D.mine").part is again


def test_an_unknown_kind_is_the_programmers_error():
    with pytest.raises(ValueError, match="no kind of part is called 'lose'"):
        register("lose", "x")


def test_listings_are_sorted_and_whole():
    everything = entries()
    keys = [(e.kind, e.name) for e in everything]
    assert keys == sorted(keys) and {e.kind for e in everything} <= set(HOMES)
    assert [e for e in everything if e.kind == "loss"] == entries("loss")


def test_importing_the_package_does_not_load_torch():
    code = "import sys, equipoise, equipoise.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["loss", "recipe"])
def test_each_kind_is_found_without_the_others_having_been_imported(kind):
    """In the order in which nobody else has looked: `find` alone must import what it needs."""
    listed = [e.name for e in entries(kind)]
    if listed:
        code = f"from equipoise.registry import find; find({kind!r}, {listed[-1]!r})"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
