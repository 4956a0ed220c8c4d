"""The balancer: two that turn the same refused, looks in order, rules heard, and going on from plain data."""

import json
import math

import pytest

from equipoise import loops
from equipoise.actuators import Actuator, Handover, attribute
from equipoise.balancer import Balancer
from equipoise.controllers import PID, Hold, Sign
from equipoise.diagnosis import Finding, Severity
from equipoise.errors import InputError
from equipoise.loop import Loop
from test_actuators import made


def run(balancer, readings, signal="x", every=1000):
    return [balancer.decide(every * (i + 1), {signal: value}) for i, value in enumerate(readings)]


def test_looks_come_in_order():
    balancer = Balancer()
    balancer.decide(2000, {"x": 1.0})
    for samples in (1000, 2000, math.nan):
        with pytest.raises(InputError, match="cannot follow one at 2000"):
            balancer.decide(samples, {"x": 1.0})
    assert balancer.history.signals["x"] == [(2.0, 1.0)]


def test_two_loops_on_one_actuator_are_refused_through_a_hand_over_too():
    (_, a), (_, b) = made(), made()
    with pytest.raises(InputError, match="both turn value"):
        Balancer(Loop("x", 1.0, Sign(), Handover(a, b)), Loop("y", 1.0, Sign(), b, name="other"))


def test_two_actuators_of_one_number_are_refused_too():
    class Owner:
        p, q = 0.0, 0.0

    one, two, other = (attribute(Owner, name, 0.0, 1.0) for name in ("p", "p", "q"))
    with pytest.raises(InputError, match="ada and ada-heldout both turn p"):
        Balancer(loops.ada(one), loops.ada_heldout(two))
    Balancer(loops.ada(one), loops.ada_heldout(other))


def test_two_of_one_name_are_refused():
    """The second's memory would take the place of the first's in a checkpoint."""
    one, two = (Actuator(name, lambda: 0.1, lambda x: None, 0.0, 1.0) for name in ("a", "b"))
    with pytest.raises(InputError, match="two that steer are called ada"):
        Balancer(loops.ada(one), loops.ada(two))
    balancer = Balancer(loops.ada(one).of("mpd"), loops.ada(two).of("msd"))
    assert set(balancer.memory()) == {"ada of mpd", "ada of msd"}


def test_a_verdict_is_formed_when_it_is_asked_for_and_is_the_one_of_its_tick():
    asked = []

    def high(history):
        asked.append(history.kimg)
        return Finding("high", Severity.WARNING, f"{history.now('x')}", (), ()) if history.now("x") > 1 else None

    first, second = run(Balancer(rules=[high]), [0.0, 9.0])
    assert asked == []
    assert first.verdict.severity == Severity.GOOD and second.verdict.severity == Severity.WARNING
    assert first.verdict is first.verdict and asked == [1.0, 2.0]


def test_rules_are_asked_at_every_tick_and_heard():
    def loud(history):
        finding = Finding("loud", Severity.WARNING, "x is high", (), ("lower x",))
        return finding if history.now("x") > 1 else None

    heard = []
    run(Balancer(rules=[loud], on_tick=heard.append), [0.0, 0.0, 5.0, 5.0])
    assert [d.verdict.severity for d in heard] == [Severity.GOOD] * 3 + [Severity.WARNING]


def test_it_goes_on_from_plain_data_as_if_it_had_not_stopped():
    def fresh():
        owner, p = made(0.2)
        return owner, Balancer(Loop("x", 1.0, Hold(PID(kp=0.1, ki=0.05), 2.0), p), mode="act", facts={"loss": "hinge"})

    readings = [2.0, 0.3, 1.7, 0.2, 1.1, 0.9, 1.4]
    whole, balancer = fresh()
    run(balancer, readings)
    owner, first = fresh()
    for i, value in enumerate(readings[:3]):
        first.decide(1000 * (i + 1), {"x": value})
    kept = json.loads(json.dumps(first.state_dict()))
    again, second = fresh()
    again.value = owner.value  # the position is the owner's own
    second.load_state_dict(kept)
    for i, value in enumerate(readings[3:], start=3):
        second.decide(1000 * (i + 1), {"x": value})
    assert again.value == whole.value and second.history == balancer.history
