"""The wiring check finds what is wrong with broken loops, nothing with correct ones, and leaves no trace."""

from __future__ import annotations

import contextlib
import functools
import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import equipoise
from equipoise.errors import InputError
from equipoise.recipe import Player
from equipoise.registry import entries
from equipoise.wires import Fact, Miswired
from equipoise.wires.fact import aligned
from loops_blind import BROKEN as MISSED
from loops_blind import CORRECT as SEEN
from loops_broken import BROKEN as FIRST
from loops_broken_later import BROKEN as LATER
from loops_broken_odd import BROKEN as LAST
from loops_broken_reported import BROKEN as REPORTED
from loops_common import BATCH, Broken, Loop, adam, d_loss, g_loss, noise, players, reals
from loops_correct import CORRECT as USUAL
from loops_correct_more import CORRECT as STRANGE
from loops_correct_odd import CORRECT as ODD
from loops_field import BROKEN as FIELD_BROKEN
from loops_field import CORRECT as FIELD
from loops_field_last import BROKEN as LAST_BROKEN
from loops_field_last import CORRECT as STILL_MORE
from loops_field_later import BROKEN as MORE_BROKEN
from loops_field_later import CORRECT as MORE
from loops_fresh import BROKEN as FRESH_BROKEN
from loops_fresh import CORRECT as FRESH
from loops_pairs import BROKEN as FAULTY
from loops_pairs import CORRECT as WHOLE
from loops_styles import BROKEN as STYLED
from loops_styles import CORRECT as STYLES
from plants import batch_of, small_step

BROKEN = (
    FIRST | REPORTED | LATER | LAST | FAULTY | FIELD_BROKEN | MORE_BROKEN | LAST_BROKEN | MISSED | STYLED | FRESH_BROKEN
)
CORRECT = USUAL | STRANGE | ODD | WHOLE | FIELD | MORE | STILL_MORE | SEEN | STYLES | FRESH
PLAIN = (
    "grad_scaler_with_fused_adam", "accumulation", "lightning_in_plain_code", "wgan_gp_with_five_steps_of_d",
    "two_discriminators", "shared_backbone", "relativistic_and_matching_features",
)  # fmt: skip


def watched(loop: Loop) -> Any:
    """The check of a loop, after it has run."""
    return played(loop)[0]


@functools.cache
def played(loop: Loop) -> tuple[Any, list[nn.Module]]:
    """The check of a loop, and its networks at the end."""
    checks: list[Any] = []

    def wiring(*args: Any, **kwargs: Any) -> Any:
        checks.append(equipoise.wiring(*args, **kwargs))
        return checks[0]

    networks = loop(wiring)
    return checks[0], networks


def names_it(fact: Fact, case: Broken) -> bool:
    lines = [f".py:{line}" for line in case.lines]
    return fact.name == case.fact and all(word in str(fact) for word in [*case.names, *lines])


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_a_broken_loop_is_found_and_the_fault_named(case: Broken) -> None:
    check = watched(case.run)
    assert any(names_it(fact, case) for fact in check.findings), str(check)
    assert check.exit_code == 1
    with pytest.raises(Miswired, match=case.fact):
        check.raise_for_errors()


def test_columns_stand_below_one_another_however_long_a_name_is() -> None:
    facts = [Fact("step", "discriminator", "holds", "one"), Fact("a long name of a fact", "G", "note", "two")]
    first, second = aligned(facts)
    assert first.index("one") == second.index("two") and first.index("discriminator") == second.index(" G ") + 1
    assert str(Fact("step", "D", "holds", "one")) == "holds   step         D    one"


def test_a_direction_names_both_backward_passes_as_either_may_be_wrong() -> None:
    case = BROKEN["g_helps_d"]
    (fact,) = (one for one in watched(case.run).findings if one.name == "direction")
    (line,) = case.lines  # G's; D's backward stands five lines above
    assert [place.line for place in fact.places] == [line, line - 5]
    assert f":{line - 5} " in fact.text


@pytest.mark.parametrize("loop", CORRECT.values(), ids=CORRECT)
def test_nothing_is_found_in_a_correct_loop(loop: Loop) -> None:
    check = watched(loop)
    assert check.findings == [], str(check)
    assert check.exit_code == 0
    check.raise_for_errors()


@pytest.mark.parametrize("name", PLAIN)
def test_all_that_can_be_told_of_a_plain_loop_is_told(name: str) -> None:
    untold = {fact.name for fact in watched(CORRECT[name]).facts if fact.state != "holds"}
    assert untold <= {"ema", "scaler"}


def test_a_reward_and_a_helper_are_notes() -> None:
    """No gradient comes through D by intention: as a factor only, or for a network that makes no samples."""
    for name, side in (("rewards_for_a_policy", "G"), ("patches_contrasted", "F")):
        (fact,) = (one for one in watched(CORRECT[name]).facts if one.name == "adversarial" and one.side == side)
        assert fact.state == "note", str(fact)


def test_a_step_beside_the_scaler_is_a_note() -> None:
    """Its gradients were unscaled, so all that is lost is that steps which are not finite are skipped."""
    G, D = players()
    opt_G, opt_D, scaler = adam(G), adam(D), torch.amp.GradScaler("cpu", init_scale=8.0)
    with equipoise.wiring(G, D, opt_G, opt_D) as check:
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            scaler.scale(d_loss(D(real), D(fake.detach()))).backward()
            scaler.unscale_(opt_D)
            opt_D.step()
            opt_G.zero_grad()
            scaler.scale(g_loss(D(fake))).backward()
            scaler.step(opt_G)
            scaler.update()
    assert check.findings == [], str(check)
    (fact,) = (one for one in check.facts if one.name == "scaler" and one.state == "note")
    assert "opt_D.step()" in fact.text


TURNS: dict[str, Callable[[torch.Tensor], object]] = {
    "neg_": lambda gradient: gradient.neg_(),
    "data.mul_": lambda gradient: gradient.data.mul_(-1),
    "*=": lambda gradient: gradient.__imul__(-1.0),
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_gradients_turned_by_hand_accuse_nobody(turn: Callable[[torch.Tensor], object]) -> None:
    """D goes up its likelihood by way of its gradients' sign, which no backward pass shows."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with equipoise.wiring(G, D, opt_G, opt_D) as check:
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            (-d_loss(D(real), D(fake.detach()))).backward()
            for weight in D.parameters():
                turn(weight.grad)
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(fake)).backward()
            opt_G.step()
    assert check.findings == [], str(check)
    assert {fact.state for fact in check.facts if fact.name == "direction"} == {"untold"}


@pytest.mark.parametrize("loop", CORRECT.values(), ids=CORRECT)
def test_the_loop_computes_the_same_numbers(loop: Loop) -> None:
    plain = loop(lambda *args, **kwargs: contextlib.nullcontext())
    _, seen = played(loop)
    for one, other in zip(plain, seen, strict=True):
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)


PARTS = [
    (kind, entry.name) for kind in ("loss", "term", "augmentation", "rule", "optimiser") for entry in entries(kind)
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_nothing_is_found_in_the_packages_own_step(kind: str, name: str) -> None:
    """Its optimisers are not PyTorch's; eight rounds of rules, since some move the average every so many only."""
    player = Player(optimiser=name) if kind == "optimiser" else Player()
    changes = {
        "loss": {"loss": name},
        "term": {"terms": {name: {}}},
        "augmentation": {"augmentations": {name: {}}},
        "rule": {"rules": {name: {}}},
        "optimiser": {"G": player, "D": player},
    }
    try:
        step = small_step(**changes[kind])
    except InputError:
        pytest.skip("needs another part beside it")
    networks, optimisers, numbers = step.networks, step.optimisers, itertools.count()
    with equipoise.wiring(networks["G"], networks["D"], optimisers["G"], optimisers["D"], ema=step.ema) as check:
        for _ in range(8 if kind == "rule" else 3):
            step.round(2, lambda: batch_of(step, next(numbers)))
    assert check.findings == [], str(check)
    assert {fact.state for fact in check.facts if fact.name in ("own", "adversarial", "stale")} == {"holds"}


def traces(G: nn.Module, D: nn.Module, opt_G: Any, opt_D: Any) -> list[Any]:
    """Everything the check hangs its hooks on."""
    modules = [*G.modules(), *D.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules]
    hooks += [len(o._optimizer_step_pre_hooks) + len(o._optimizer_step_post_hooks) for o in (opt_G, opt_D)]
    hooks += [
        len(p._backward_hooks or ()) + len(p._post_accumulate_grad_hooks or ())
        for p in [*G.parameters(), *D.parameters()]
    ]
    scaler = torch.amp.GradScaler
    return [
        hooks,
        scaler.scale,
        scaler.step,
        scaler.unscale_,
        scaler.update,
        torch.overrides._len_torch_function_stack(),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_behind_and_errors_pass(fails: bool) -> None:
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    before = traces(G, D, opt_G, opt_D)
    error = KeyError("mine")
    kept = []
    check = equipoise.wiring(G, D, opt_G, opt_D)
    with pytest.raises(KeyError) if fails else contextlib.nullcontext() as caught, check:
        kept.append(D(G(noise())))
        assert traces(G, D, opt_G, opt_D) != before
        if fails:
            raise error
    assert traces(G, D, opt_G, opt_D) == before
    assert not kept[0]._backward_hooks
    if fails:
        assert caught.value is error
        assert check.exit_code == 1 and "has not run to its end" in str(check)


def test_a_failed_forward_is_survived() -> None:
    """A loop that catches an error in D goes on being watched."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with equipoise.wiring(G, D, opt_G, opt_D) as check:
        for real in reals():
            with contextlib.suppress(RuntimeError):
                D(torch.zeros(1, 77))
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    assert {fact.state for fact in check.facts if fact.name in ("own", "stale", "adversarial", "modes")} == {"holds"}


def test_too_short_a_watch_is_told() -> None:
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with equipoise.wiring(G, D, opt_G, opt_D) as check:
        for real in reals(2):
            opt_D.zero_grad()
            d_loss(D(real), D(G(noise()).detach())).backward()
            opt_D.step()
        opt_G.zero_grad()
        g_loss(D(G(noise()))).backward()
        opt_G.step()
    stale = {fact.side: fact for fact in check.facts if fact.name == "stale"}
    assert stale["D"].state == "holds"
    assert stale["G"].state == "untold" and "takes two" in stale["G"].text


def test_lightning() -> None:
    lightning = pytest.importorskip("pytorch_lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.G, self.D = players()
            self.pair = [adam(self.G), adam(self.D)]

        def configure_optimizers(self) -> list[Any]:
            return self.pair

        def training_step(self, batch: list[torch.Tensor], index: int) -> None:
            opt_G, opt_D = self.optimizers()
            for optimiser, loss in (
                (opt_G, lambda: g_loss(self.D(self.G(noise())))),
                (opt_D, lambda: d_loss(self.D(batch[0]), self.D(self.G(noise()).detach()))),
            ):
                self.toggle_optimizer(optimiser)
                self.manual_backward(loss())
                optimiser.step()
                optimiser.zero_grad()
                self.untoggle_optimizer(optimiser)

    module = Module()
    data = torch.utils.data.TensorDataset(torch.cat(list(reals(2))))
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with equipoise.wiring(module.G, module.D, *module.pair) as check:
        trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=BATCH))
    assert {fact.name for fact in check.facts if fact.state != "holds"} == {"ema", "scaler"}, str(check)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda G, D, g, d: (G, D, "adam", g), "opt_G is str, no optimiser"),
        (lambda G, D, g, d: (g, D, G, d), "wiring\\(G, D, opt_G, opt_D\\)"),
        (lambda G, D, g, d: (G, {"a": D}, g, {"b": d}), "by the same names"),
    ],
)
def test_what_cannot_be_watched_is_refused(change: Any, said: str) -> None:
    G, D = players()
    with pytest.raises(InputError, match=said):
        equipoise.wiring(*change(G, D, adam(G), adam(D)))


def test_an_average_of_another_network_is_refused() -> None:
    G, D = players()
    with pytest.raises(InputError, match="generator's parameters"):
        equipoise.wiring(G, D, adam(G), adam(D), ema=D).__enter__()


def test_layers_without_a_shape_are_refused() -> None:
    G, _ = players()
    D = nn.Sequential(nn.LazyLinear(1))
    with pytest.raises(InputError, match=r"D\.0\.weight has no shape yet"):
        equipoise.wiring(G, D, adam(G), adam(D)).__enter__()


def test_it_imports_nothing_heavy_of_the_package() -> None:
    program = "import sys, equipoise; equipoise.wiring; print([m for m in sys.modules if m.startswith('equipoise.')])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert {name for name in eval(found) if not name.startswith("equipoise.wires")} == {"equipoise.errors"}


@pytest.mark.parametrize(
    "term",
    [
        lambda D, real: torch.func.vmap(torch.func.grad(lambda one: D(one[None]).sum()))(real).square().mean(),
        lambda D, real: torch.func.jvp(D, (real,), (torch.ones_like(real),))[1].square().mean(),
        lambda D, real: torch.sparse.mm(torch.eye(BATCH).to_sparse(), D(real)).mean(),
        lambda D, real: torch.fft.fft(D(real).flatten()).abs().mean(),
        lambda D, real: 0 * real.to(torch.float8_e4m3fn).float().mean() + 0 * torch.empty(3, device="meta").numel(),
    ],
    ids=["vmap", "jvp", "sparse", "complex", "float8 and meta"],
)
def test_tensors_that_cannot_be_looked_into_pass(term: Any) -> None:
    """Under a transform, sparse, complex or without memory: the loop runs, and nothing is accused."""
    G, D = players()
    opt_G, opt_D = adam(G), adam(D)
    with equipoise.wiring(G, D, opt_G, opt_D) as check:
        for real in reals():
            opt_D.zero_grad()
            (d_loss(D(real), D(G(noise()).detach())) + term(D, real)).backward()
            opt_D.step()
            opt_G.zero_grad()
            g_loss(D(G(noise()))).backward()
            opt_G.step()
    assert check.findings == [], str(check)
    assert {fact.state for fact in check.facts if fact.name in ("own", "adversarial", "stale")} == {"holds"}
