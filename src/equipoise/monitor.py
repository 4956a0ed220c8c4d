"""The monitor: the balance of any adversarial loop, read where it stands. The loop keeps the wheel.

    monitor = equipoise.Monitor(loss="hinge")
    for real in loader:
        ...                                                                  # the discriminator's update, as before
        monitor.observe("D", real_logits=real_logits, fake_logits=fake_logits)
        ...                                                                  # the generator's update, as before
        monitor.observe("G", fake_logits=fake_logits, output=fake)           # before its backward, for the gradient
        monitor.step(len(real) * world_size)                                 # samples over all ranks

Nothing is read back from the device between ticks, and no random number of the loop's is drawn.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.balancer import Balancer, Decision, Mode, Move, Steering
from equipoise.diagnosis import History, Rule, Verdict
from equipoise.errors import InputError
from equipoise.logbook import Logbook
from equipoise.readings import Reading
from equipoise.registry import entries, find
from equipoise.sensors import Meter, Sensor
from equipoise.sensors.probes import look
from equipoise.sensors.rounds import Rounds
from equipoise.shown import (
    check_fields,
    check_player,
    detached,
    heading,
    heads_shown,
    loss_shown,
    norm,
    paired,
    share_of,
    single,
)
from equipoise.signals import derive
from equipoise.terms import Loss
from equipoise.turn import Role, Turn, parameters, score

DENSE = 100  # steps in which ticks come at every tenth
SPARSE = 16  # steps between those whose change of the weights is measured
# What a meter keeps beside sensors.
OWN = ("loss", "gradient", "heading", "update", "heldout_score", "share", "reconstruction")


class Monitor:
    """Senses an adversarial loop, judges it once per tick, and, if it may, turns what it was given to turn.

    Any number of discriminators, each under a name of its own (`"D"`, `"mpd"`, `"msd"`); players whose name begins
    with G or gen (or netG, g_) are generators. Logits are a tensor `[N, ...]` or a list with one per head; heads weigh
    the same. Signals of a discriminator called otherwise than D are `mpd/win_rate`; under the plain name stands the
    mean of all.

    `look` tells what comes of the game: it returns fields of `equipoise.sensors.probes.View`, such as `samples` and
    `heldout` [n, ...], and is called at ticks only, without gradients; networks that it uses are to be in evaluation
    mode, and its random numbers a generator's of its own.
    """

    def __init__(
        self,
        *steering: Steering,  # closed loops, such as those of `equipoise.loops`; none: only watch
        loss: str | tuple[float, float | None] | None = None,  # a registered loss, or the ideal values of D's and G's
        mode: Mode = "watch",
        anchored: bool = False,  # whether G is held by a reconstruction loss too: a D far ahead is normal then
        total: int | None = None,  # real samples of the whole run, where that is known
        tick_kimg: float = 4.0,  # between looks once the run has settled, thousands of real samples
        look: Callable[[], Mapping[str, Any]] | None = None,  # fields for the probes, asked for at ticks
        rules: Sequence[Rule] | None = None,  # None: all
        on_tick: Callable[[Decision], None] | None = None,
        log: str | Path | None = None,  # a folder for `run.jsonl`: looks and moves, see `equipoise.logbook`
    ) -> None:
        if not tick_kimg > 0:
            raise InputError(f"tick_kimg={tick_kimg}: the distance of two looks must be above 0 thousand samples")
        if loss is not None and not isinstance(loss, str) and not (isinstance(loss, tuple) and len(loss) == 2):
            raise InputError(
                f"loss={loss!r}: give a registered name, or the ideal values of D's and G's loss as a pair"
            )
        if total is not None and total < 1:
            raise InputError(f"total={total}: give the number of real samples of the whole run, or leave it out")
        if look is not None and not callable(look):
            raise InputError("look= takes a function that returns samples, called anew at each look, not the samples")
        self.loss: Loss | None = find("loss", loss).part if isinstance(loss, str) else None
        self.ideal = find("loss", loss).facts["ideal"] if isinstance(loss, str) else (loss or (0.0, None))
        facts = {"anchored": anchored, "total_kimg": total / 1000 if total else None, "source": "a loop of one's own"}
        facts |= {"loss": loss} if isinstance(loss, str) else {}
        facts |= {"signless": self.loss.zero != 0} if self.loss else {}
        facts = {name: value for name, value in facts.items() if value is not None}
        self.balancer = Balancer(*steering, mode=mode, rules=rules, facts=facts)
        self.tick_kimg, self.look, self.on_tick = tick_kimg, look, on_tick
        self.log = None if log is None else Logbook(log)
        self.samples = self.steps = self.ticks = self.next_tick = 0
        self.meters: dict[str, Meter] = {}
        self.rounds = Rounds()  # the last losses one by one
        self._sensors: list[Sensor] = [entry.part for entry in entries("sensor")]
        self._names = {name for one in self._sensors for name in parameters(one.function)}  # fields that are read
        self._followed: dict[str, Callable[[], float]] = {}  # the norm of a player's weights
        self._loaded: set[str] = set()  # players whose meter came from a checkpoint, which is read to the CPU
        self._optimisers: dict[str, Any] = {}
        self._begun: list[Move] | None = None  # what those who steer set before the first update; None: not yet
        self.first: float | None = None  # what held G when the discriminator came in
        self.joined: bool | None = None  # whether it has, by its share; None: no share was read
        self.verdict = Verdict(())

    # ------------------------------------------------------------------------------------------------ sensing

    def observe(
        self,
        player: str,  # "D", "G", or the name of one of several discriminators
        *,
        real_logits: Any = None,  # of a batch of real samples: [N, ...] or a list of heads
        fake_logits: Any = None,
        heldout_logits: Any = None,  # of real samples that D is never trained on, if there are any
        loss: Tensor | None = None,  # the adversarial loss; None: formed from the logits where the loss is registered
        output: Tensor | None = None,  # of G's: what it made, before its backward, where its losses meet
        adversarial: Tensor | None = None,  # of G's: its adversarial loss, weighted as it is added, before its backward
        reconstruction: Tensor | None = None,  # of G's: all that holds it otherwise, weighted, before its backward
        **fields: Any,  # whatever sensors of your own read
    ) -> None:
        """Read one update of one player. Nothing is kept of the tensors but moments."""
        if self.balancer.mode == "off":
            return
        role = role_of(player) if isinstance(player, str) else "D"
        check_player(player, role, output, adversarial, reconstruction)
        check_fields(fields, self._names)
        self.begin()
        known = {**paired(real_logits, fake_logits), **fields}
        turn = Turn(player, role, **{name: detached(value) for name, value in known.items() if value is not None})
        with torch.no_grad():
            values = self._read(turn, role, loss)
            if heldout_logits is not None:
                values["heldout_score"] = score(heads_shown(heldout_logits))
        if output is not None:
            self._follow_output(player, turn, output, adversarial, reconstruction)
        if reconstruction is not None:
            values["reconstruction"] = single(reconstruction, "the reconstruction")
        said = turn["fake_score"] if role == "D" and "fake_score" in turn else None
        self.rounds.see(player, role, values.get("loss"), said)
        self._add(player, values)

    def follow(self, player: str, optimiser: torch.optim.Optimizer) -> None:
        """Measure the size of a player's steps relative to its weights, at one in 16, by hooks on its optimiser."""
        optimiser = getattr(optimiser, "optimizer", optimiser)  # in Accelerate's and Lightning's wrappers
        if not hasattr(optimiser, "register_step_pre_hook"):
            raise InputError(f"follow({player!r}, {type(optimiser).__name__}): hand over the player's optimiser")
        other = next((name for name, one in self._optimisers.items() if one is optimiser and name != player), None)
        if other is not None:
            raise InputError(
                f"follow({player!r}, ...): this optimiser is followed as {other!r} already, and moves both at once, so "
                "that neither's steps can be told: give each player an optimiser of its own, or follow neither"
            )
        if self._optimisers.get(player) is optimiser:
            return  # as where a trainer sets up anew: hooks would pile up
        self._optimisers[player] = optimiser
        trained = [p for group in optimiser.param_groups for p in group["params"]]
        before: list[Tensor] = []

        def pre(*_: Any) -> None:
            if self.balancer.mode != "off" and (self.steps < DENSE or self.steps % SPARSE == 0):
                before[:] = [p.detach().clone() for p in trained]
                gradients = [p.grad for p in trained if p.grad is not None]
                known = heading(optimiser, trained)
                self._add(player, {"gradient": norm(gradients).reshape(1)} if gradients else {})
                self._add(player, {"heading": known} if known is not None else {})

        def post(*_: Any) -> None:
            if before:
                change = norm([p.detach() - old for p, old in zip(trained, before, strict=True)])
                self._add(player, {"update": change.reshape(1)})
                before.clear()

        optimiser.register_step_pre_hook(pre)
        optimiser.register_step_post_hook(post)
        self._followed[player] = lambda: float(norm([p.detach() for p in trained]))

    def _read(self, turn: Turn, role: Role, loss: Tensor | None) -> dict[str, Tensor]:
        """What the sensors say of a turn that has what they read, and its loss."""
        values: dict[str, Tensor] = {}
        for one in self._sensors:
            if one.role == role and all(name in turn for name, needed in parameters(one.function).items() if needed):
                values[_short(one)] = one(turn)
        side = None if self.loss is None else self.loss.d if role == "D" else self.loss.g
        if loss is not None:
            values["loss"] = loss_shown(loss)
        elif side is not None and all(name in turn for name in parameters(side)):
            values["loss"] = turn.call(side)
        return values

    def _follow_output(
        self, player: str, turn: Turn, output: Tensor, adversarial: Tensor | None, reconstruction: Tensor | None
    ) -> None:
        """Read the gradient that reaches G's output when the loop's backward passes, and now and then what it is of."""
        share = self.steps < DENSE or self.steps % SPARSE == 0
        if share and adversarial is not None and reconstruction is not None:
            self._add(player, {"share": share_of(adversarial, reconstruction, output)})
        readers = [one for one in self._sensors if one.role == "G" and "pull" in parameters(one.function)]

        def read(gradient: Tensor) -> None:
            with torch.no_grad():
                passing = Turn(player, "G", pull=gradient.detach() * len(gradient))
                self._add(player, {_short(one): one(passing).mean().reshape(1) for one in readers})

        if readers:
            output.register_hook(read)

    def _add(self, player: str, values: Mapping[str, Tensor]) -> None:
        """Take values into a player's meter, those of one length together."""
        for size in sorted({len(value) for value in values.values()}):
            group = {name: value for name, value in values.items() if len(value) == size}
            meter = self._meter(player, next(iter(group.values())).device)
            meter.add({name: value.to(meter.moments.device) for name, value in group.items()})

    def _meter(self, player: str, device: torch.device) -> Meter:
        """A player's meter, where its first values lie, and after a checkpoint was read where the next ones do."""
        loaded = player in self._loaded
        if player not in self.meters or (loaded and self.meters[player].moments.device != device):
            own = [_short(one) for one in self._sensors if one.role == role_of(player)]
            made = Meter([*dict.fromkeys([*OWN, *own])], device)
            if loaded:
                made.load_state_dict(self.meters[player].state_dict())
            self.meters[player] = made
        self._loaded.discard(player)
        return self.meters[player]

    # ------------------------------------------------------------------------------------------------ once per tick

    def begin(self) -> None:
        """Let those who steer set what they set before the first update.

        The first `observe` or `step` does it; call it yourself where G moves before either.
        """
        if self._begun is None:
            self._begun = self.balancer.begin() if self.steps == 0 else []

    def finish(self) -> list[Move]:
        """After the last update: what those who steer hand over or have left to say."""
        moves = self.balancer.finish()
        if self.log is not None:
            self.log.end(Decision(self.samples / 1000, {}, self.verdict, moves), self.samples)
        return moves

    def step(self, samples: int) -> Decision | None:
        """Count the real samples of one step of the loop, over all ranks; at a tick, judge and turn what is due."""
        if self.balancer.mode == "off":
            return None
        if not isinstance(samples, numbers.Real) or samples < 1:
            came = samples if isinstance(samples, numbers.Real) else f"a {type(samples).__name__}"
            raise InputError(f"step({came}): hand over the number of real samples of this step, len(real), above 0")
        self.begin()
        self.samples, self.steps = self.samples + samples, self.steps + 1
        self.rounds.step(samples)
        if self.samples < self.next_tick:
            return None
        self.next_tick = self.samples + int(min(1000 * self.tick_kimg, max(DENSE // 10 * samples, self.samples // 10)))
        self.ticks += 1
        decision = self.balancer.decide(self.samples, self._signals())
        decision.moves[:0], self._begun = self._begun or [], []
        self.verdict = decision.verdict
        if self.log is not None:
            self.log.add(decision, self.samples, self.history.facts)
        if self.on_tick is not None:  # not the balancer's, which does not know what was set before the first update
            self.on_tick(decision)
        return decision

    def _signals(self) -> dict[str, float]:
        """The signals of the window that ends here: the one place where the host waits for the device."""
        found: dict[str, float] = {}
        told: dict[str, list[float]] = {}
        for player, meter in self.meters.items():
            readings, role = self._window(meter), role_of(player)
            norms = {str(role): self._followed[player]()} if player in self._followed else {}
            signals = derive({f"{role}.{name}": value for name, value in readings.items()}, self.ideal, norms)
            signals |= self._anchored(readings) | self.rounds.read(player, self.ideal[0])
            if role == "D" and player != "D":
                found |= {f"{player}/{name}": value for name, value in signals.items()}
            for name, value in signals.items():
                told.setdefault(name, []).append(value)
        for name, value in self._looked().items():
            told.setdefault(name, []).append(value)
        found |= {name: max(v) if name in ("nonfinite", "skipped") else sum(v) / len(v) for name, v in told.items()}
        return found

    def _looked(self) -> dict[str, float]:
        """What the probes say of the fields that the loop gives them; the mean over ranks, each of which looks."""
        if self.look is None:
            return {}
        with torch.no_grad():
            found = look(self.look(), tick=self.ticks - 1)
        if distributed.world_size() > 1:
            device = next(iter(self.meters.values())).moments.device
            means = distributed.average_(torch.tensor(list(found.values()), device=device)).tolist()
            found = dict(zip(found, means, strict=True))
        return found

    def _anchored(self, readings: Mapping[str, Reading]) -> dict[str, float]:
        """Where another loss holds G: the adversarial share, and that loss over its value when D came in.

        D came in when its share in G's gradient was no longer 0; where that is not read, when D was first observed.
        Before, no share is told: that it is 0 then is no sign of anything.
        """
        found: dict[str, float] = {}
        if "reconstruction" in readings:
            now = readings["reconstruction"].mean
            waiting = not (self._watched() if self.joined is None else self.joined)
            if self.first is None or (waiting and not math.isnan(self.first)):
                self.first = now
            self.first = math.nan if now < 0 else self.first  # it has no zero, so that a ratio says nothing
            found["reconstruction"] = now / self.first if self.first else math.nan
        if "share" in readings:
            self.joined = bool(self.joined) or readings["share"].mean > 0
            found |= {"adversarial_share": readings["share"].mean} if self.joined else {}
            self.history.facts["waiting"] = not self.joined and self._watched()
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _watched(self) -> bool:
        """Whether a discriminator has been observed."""
        return any(role_of(player) == "D" for player in self.meters)

    def _window(self, meter: Meter) -> dict[str, Reading]:
        if distributed.world_size() > 1:
            distributed.average_(meter.moments).mul_(distributed.world_size())
        return meter.read()

    @property
    def history(self) -> History:
        """All signals so far, by name, and what is known of the run."""
        return self.balancer.history

    # ------------------------------------------------------------------------------------------------ keep

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, open windows included; plain data and tensors."""
        counts = {"samples": self.samples, "steps": self.steps, "ticks": self.ticks, "next_tick": self.next_tick}
        meters = {player: meter.state_dict()["moments"].clone() for player, meter in self.meters.items()}
        return {
            **counts,
            "first": self.first,
            "joined": self.joined,
            "meters": meters,
            "rounds": self.rounds.state_dict(),
            "balancer": self.balancer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for name in ("samples", "steps", "ticks", "next_tick"):
            setattr(self, name, int(state[name]))
        self.first, self.joined = state["first"], state["joined"]
        if self.log is not None:
            self.log.begun = self.samples
        for player, moments in state["meters"].items():
            meter = self._meter(player, moments.device)
            meter.load_state_dict({"moments": moments.to(meter.moments.device)})
        self._loaded = set(state["meters"])
        self.rounds.load_state_dict(state["rounds"])
        self.balancer.load_state_dict(state["balancer"])


def role_of(player: str) -> Role:
    """What a player is, by its name: G, G_A, netG, generator; a discriminator may be called `global`."""
    name = player.removeprefix("net").removeprefix("_")
    return "G" if name.startswith("G") or name == "g" or name.lower().startswith(("gen", "g_")) else "D"


def _short(sensor: Sensor) -> str:
    return sensor.name.partition(".")[2]
