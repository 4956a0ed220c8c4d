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
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.anchor import Anchor
from equipoise.asked import check_asked
from equipoise.balancer import Balancer, Decision, Mode, Move, Steering
from equipoise.diagnosis import History, Rule, Verdict, diagnose
from equipoise.errors import InputError
from equipoise.logbook import Logbook
from equipoise.loop import Loop
from equipoise.observer import Observer
from equipoise.registry import find
from equipoise.sensors.probes import all_probes, look
from equipoise.shown import check_fields, check_looked, check_player, check_signal, detached, paired, role_of
from equipoise.signals import derive
from equipoise.terms import Loss
from equipoise.turn import Turn

FIRST = 10  # steps between looks at the beginning
UNSEEN = "anything: the monitor has not looked yet; call its step(len(real)) at the end of each step of the loop"
OFF = 'anything: with mode="off" nothing is read'


class Monitor:
    """Senses an adversarial loop, judges it once per tick, and, if it may, turns what it was given to turn.

    Any number of discriminators, each under a name of its own (`"D"`, `"mpd"`, `"msd"`); players whose name begins
    with G or gen (or netG, g_) are generators. Logits are a tensor `[N, ...]` or a list with one per head; heads weigh
    the same. Signals of a discriminator called otherwise than D are `mpd/win_rate`; under the plain name stands the
    mean of all, and D's own as `D/win_rate` where it is not the only one.

    `look` tells what comes of the game: it returns fields of `equipoise.sensors.probes.View`, such as `samples` and
    `heldout` [n, ...], and is called at ticks only, without gradients; networks that it uses are to be in evaluation
    mode, and its random numbers a generator's of its own.

    Signals are those of `equipoise.signals`, normalised so that losses of every kind compare; time is thousands of real
    samples (kimg). Ticks come ten steps apart at first, and at most `tick_kimg` later on. With `mode="off"` nothing is
    read; otherwise the loop's own numbers stay what they were, unless those who steer may `act`.

    Raises:
        InputError: settings, names or fields that cannot be, in one sentence.
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
        check_asked(loss, total, tick_kimg, look, rules, on_tick)
        self.loss: Loss | None = find("loss", loss).part if isinstance(loss, str) else None
        self.ideal = find("loss", loss).facts["ideal"] if isinstance(loss, str) else (loss or (0.0, None))
        facts = {"anchored": anchored, "total_kimg": total / 1000 if total else None, "source": "a loop of one's own"}
        facts |= {"loss": loss} if isinstance(loss, str) else {}
        facts |= {"signless": self.loss.zero != 0} if self.loss else {}
        facts = {name: value for name, value in facts.items() if value is not None}
        self.balancer = Balancer(*steering, mode=mode, rules=rules, facts=facts)
        for one in steering:
            check_signal(one, self.ideal[0], bool(facts.get("signless")))
        self.tick_kimg, self.look, self.on_tick = tick_kimg, look, on_tick
        self.log = None if log is None else Logbook(log)
        self.observer = Observer(self.loss, reads=mode != "off")
        self.meters, self.rounds = self.observer.meters, self.observer.rounds
        self.samples = self.ticks = self.next_tick = 0
        self.anchors: dict[str, Anchor] = {}  # by generator
        self._begun: list[Move] | None = None  # what those who steer set before the first update; None: not yet
        self.verdict = Verdict((), (OFF if mode == "off" else UNSEEN,))

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
        """Read one update of one player. Nothing is kept of the tensors but moments.

        `loss` is one number or `[N]`, `adversarial` and `reconstruction` are one number each, and `output` is
        `[N, ...]` and needs a gradient. With the three last together the adversarial share of G's gradient is read.
        """
        if self.balancer.mode == "off":
            return
        role = role_of(player) if isinstance(player, str) else "D"
        check_player(player, role, output, adversarial, reconstruction)
        check_fields(fields, self.observer.fields)
        self.begin()
        known = {**paired(real_logits, fake_logits, heldout_logits), **fields}
        turn = Turn(player, role, **{name: detached(value) for name, value in known.items() if value is not None})
        if output is not None:
            self.observer.see_output(player, output, adversarial, reconstruction)
        self.observer.see(turn, loss, reconstruction)

    def follow(self, player: str, optimiser: torch.optim.Optimizer) -> None:
        """Measure the size of a player's steps relative to its weights, at one in 16, by hooks on its optimiser."""
        self.observer.follow(player, optimiser)

    # ------------------------------------------------------------------------------------------------ once per tick

    def begin(self) -> None:
        """Let those who steer set what they set before the first update.

        The first `observe` or `step` does it; call it yourself where G moves before either.
        """
        if self._begun is None:
            self._begun = self.balancer.begin() if self.steps == 0 else []

    def finish(self) -> list[Move]:
        """After the last update: what those who steer hand over or have left to say. Writes the log's last line."""
        loops = [one for one in self.balancer.steering if isinstance(one, Loop) and self.balancer.mode != "off"]
        unread = [one.unread(self.samples / 1000, self.history, self.balancer.mode == "act") for one in loops]
        moves = [*self.balancer.finish(), *chain.from_iterable(unread)]
        if self.log is not None:
            last = Decision(self.samples / 1000, {}, lambda: self.verdict, moves)
            self.log.end(last, self.samples, self.history.facts)
        return moves

    def step(self, samples: int) -> Decision | None:
        """Count the real samples of one step of the loop, over all ranks; at a tick, judge and turn what is due.

        Returns what was decided at a tick, and None between: only at ticks does the host wait for the device.
        """
        if self.balancer.mode == "off":
            return None
        if not isinstance(samples, numbers.Real) or not 1 <= samples < math.inf or samples % 1:
            came = samples if isinstance(samples, numbers.Real) else f"a {type(samples).__name__}"
            raise InputError(
                f"step({came}): hand over the number of real samples of this step, len(real), a whole one above 0"
            )
        self.begin()
        self.samples += int(samples)
        self.observer.step(samples)
        if self.samples < self.next_tick:
            return None
        self.next_tick = self.samples + int(min(1000 * self.tick_kimg, max(FIRST * samples, self.samples // 10)))
        self.ticks += 1
        self.history.facts["batch"] = round(self.samples / self.steps)
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
        judges = [player for player in self.meters if role_of(player) == "D"]
        tempo = self.observer.tempo()
        for player in self.meters:
            readings, role = self.observer.window(player), role_of(player)
            weights = self.observer.weights(player)
            norms = {} if weights is None else {str(role): weights}
            signals = derive({f"{role}.{name}": value for name, value in readings.items()}, self.ideal, norms)
            if role == "G":
                signals |= self.anchors.setdefault(player, Anchor()).read(readings, bool(judges))
            signals |= self.rounds.read(player, self.ideal[0])
            signals |= {"tempo": tempo[player]} if player in tempo else {}
            if role == "D" and (player != "D" or len(judges) > 1):
                found |= {f"{player}/{name}": value for name, value in signals.items()}
            for name, value in signals.items():
                told.setdefault(name, []).append(value)
        joined = [anchor.joined for anchor in self.anchors.values() if anchor.joined is not None]
        if joined:
            self.history.facts["waiting"] = not any(joined) and bool(judges)
        for name, value in self._looked().items():
            told.setdefault(name, []).append(value)
        found |= {name: max(v) if name in ("nonfinite", "skipped") else sum(v) / len(v) for name, v in told.items()}
        return found

    def _looked(self) -> dict[str, float]:
        """What the probes say of the fields that the loop gives them; the mean over ranks, each of which looks."""
        if self.look is None:
            return {}
        with torch.no_grad():
            fields = self.look()
            check_looked(fields)
            found = look(fields, tick=self.ticks - 1)
        names = [*(name for one in all_probes() for name in one.tells), "nonfinite"]
        lies = next((meter.moments.device for meter in self.meters.values()), torch.device("cpu"))
        return distributed.means(found, names, lies)

    @property
    def steps(self) -> int:
        """Of the loop, so far."""
        return self.observer.steps

    @property
    def history(self) -> History:
        """All signals so far, by name, and what is known of the run."""
        return self.balancer.history

    # ------------------------------------------------------------------------------------------------ keep

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, open windows included; plain data and tensors."""
        return {
            "samples": self.samples,
            "ticks": self.ticks,
            "next_tick": self.next_tick,
            "anchors": {player: anchor.state_dict() for player, anchor in self.anchors.items()},
            **self.observer.state_dict(),
            "balancer": self.balancer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave; nothing is changed where that is refused."""
        missing = self.state_dict().keys() - state.keys() if isinstance(state, Mapping) else {"samples"}
        if missing:
            came = ", ".join(sorted(map(str, state))[:5]) if isinstance(state, Mapping) else type(state).__name__
            raise InputError(
                f"this is no whole state of a monitor ({came}), since {', '.join(sorted(missing))} is missing: hand "
                "over what its state_dict() gave, as it stands in your checkpoint"
            )
        self.observer.check_state(state)
        self.balancer.load_state_dict(state["balancer"])  # first, since it may refuse
        self.samples, self.ticks, self.next_tick = (int(state[name]) for name in ("samples", "ticks", "next_tick"))
        for player, kept in state["anchors"].items():
            self.anchors.setdefault(player, Anchor()).load_state_dict(kept)
        if self.log is not None:
            self.log.begun = self.samples
        self.observer.load_state_dict(state)
        if self.ticks and self.balancer.mode != "off":
            self.verdict = diagnose(self.history, self.balancer.rules)
