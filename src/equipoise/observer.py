"""What a monitor reads of a loop's updates, player by player: moments on the device, and nothing of the tensors.

Beside what sensors say of a turn stands what only the loop can show: its losses, the gradient that reaches G's output,
and the steps of its optimisers. Nothing is read back to the host but at a look, and no random number is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from equipoise import distributed
from equipoise.errors import InputError
from equipoise.readings import Reading
from equipoise.registry import entries
from equipoise.sensors import Meter, Sensor
from equipoise.sensors.rounds import Rounds
from equipoise.shown import counts, heading, loss_shown, norm, role_of, share_of, single
from equipoise.terms import Loss
from equipoise.turn import Turn, parameters, score

DENSE = 100  # steps of the loop at which everything is read
SPARSE = 16  # steps between those that are measured for a copy of the weights or a backward pass, after that
# What a meter keeps beside sensors.
OWN = ("loss", "gradient", "heading", "update", "heldout_score", "heldout_size", "share", "weighted", "reconstruction")


class Observer:
    """The meters of a loop's players, and the last losses of its discriminators one by one."""

    def __init__(
        self,
        loss: Loss | None,  # from which losses are formed that are not shown; None: those are not known
        reads: bool = True,  # False: optimisers are followed in vain
    ) -> None:
        self.loss, self.reads = loss, reads
        self.steps = 0  # of the loop
        self.meters: dict[str, Meter] = {}  # by player
        self.rounds = Rounds()
        self._sensors: list[Sensor] = [entry.part for entry in entries("sensor")]
        read = [one.function for one in self._sensors] + ([] if loss is None else [loss.d, loss.g])
        self.fields = {name for function in read for name in parameters(function)}  # what may be shown
        self._followed: dict[str, list[Tensor]] = {}  # the weights that a player's optimiser moves
        self._optimisers: dict[str, Any] = {}
        self._hooks: dict[str, list[Any]] = {}
        self._moves: Counter[str] = Counter()  # of the optimisers that are followed, since the last look
        self._loaded: set[str] = set()  # players whose meter came from a checkpoint, which is read to the CPU

    @torch.no_grad()
    def see(self, turn: Turn, loss: Any, reconstruction: Any) -> None:
        """Read one update of one player."""
        values = self._sensed(turn) | self._loss_of(turn, loss)
        if "heldout_logits" in turn:
            unseen = values["heldout_score"] = score(turn["heldout_logits"])
            values["heldout_size"] = unseen.new_full([1], len(unseen))
        if reconstruction is not None:
            values["reconstruction"] = single(reconstruction, "the reconstruction")
        said = turn["fake_score"] if turn.role == "D" and "fake_score" in turn else None
        self.rounds.see(turn.player, turn.role, values.get("loss"), said)
        self._add(turn.player, values)

    def see_output(self, player: str, output: Tensor, adversarial: Any, reconstruction: Any) -> None:
        """Read the gradient that reaches G's output when the loop's backward passes, and now and then what it is of."""
        if adversarial is not None and reconstruction is not None:
            if self._sparse():
                self._add(player, {"share": share_of(adversarial, reconstruction, output)})
            self._add(player, {"weighted": counts(adversarial, output)})
        readers = [one for one in self._sensors if one.role == "G" and one.reads("pull")]

        def read(gradient: Tensor) -> None:
            with torch.no_grad():
                passing = Turn(player, "G", pull=gradient.detach() * len(gradient))
                self._add(player, {_short(one): one(passing).mean().reshape(1) for one in readers})

        if readers:
            output.register_hook(read)

    def follow(self, player: str, optimiser: torch.optim.Optimizer) -> None:
        """Measure the gradients and the size of a player's steps, at one in 16, by hooks on its optimiser."""
        optimiser = getattr(optimiser, "optimizer", optimiser)  # in Accelerate's and Lightning's wrappers
        self._check(player, optimiser)
        if self._optimisers.get(player) is optimiser:
            return  # as where a trainer sets up anew: hooks would pile up
        trained = [p for group in optimiser.param_groups for p in group["params"]]
        self._replace(player, trained)
        self._optimisers[player], self._followed[player] = optimiser, trained
        before: list[Tensor] = []

        def pre(*_: Any) -> None:
            if self.reads and self._sparse():
                before[:] = [p.detach().clone() for p in trained]
                gradients = [p.grad for p in trained if p.grad is not None]
                known = heading(optimiser, trained)
                self._add(player, {"gradient": norm(gradients).reshape(1)} if gradients else {})
                self._add(player, {"heading": known} if known is not None else {})

        def post(*_: Any) -> None:
            self._moves[player] += self.reads
            if before:
                change = norm([p.detach() - old for p, old in zip(trained, before, strict=True)])
                self._add(player, {"update": change.reshape(1)})
                before.clear()

        self._hooks[player] = [optimiser.register_step_pre_hook(pre), optimiser.register_step_post_hook(post)]

    def step(self, samples: int) -> None:
        """Count a step of the loop on so many real samples, over all ranks."""
        self.steps += 1
        self.rounds.step(samples)

    def window(self, player: str) -> dict[str, Reading]:
        """A player's readings since the last look, over all ranks: here the host waits for the device."""
        meter = self.meters[player]
        if distributed.world_size() > 1:
            distributed.average_(meter.moments).mul_(distributed.world_size())
        return meter.read()

    def tempo(self) -> dict[str, float]:
        """How often each discriminator that is followed was moved for one move of G since the last look.

        Left out where either did not move: D may come in late, or train alone at first.
        """
        moves, self._moves = self._moves, Counter()
        of_g = [count for player, count in moves.items() if role_of(player) == "G"]
        each = {player: count for player, count in moves.items() if role_of(player) == "D"} if of_g else {}
        return {player: count * len(of_g) / sum(of_g) for player, count in each.items()}

    def weights(self, player: str) -> float | None:
        """The norm of the weights that a player's optimiser moves; None where it is not followed."""
        followed = self._followed.get(player)
        return None if followed is None else float(norm([p.detach() for p in followed]))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, open windows included."""
        meters = {player: meter.state_dict()["moments"].clone() for player, meter in self.meters.items()}
        return {"steps": self.steps, "meters": meters, "rounds": self.rounds.state_dict(), "moves": dict(self._moves)}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse a state with other readings than this observer's."""
        for player, moments in state["meters"].items():
            rows = len(self._readings(player))
            if tuple(moments.shape) != (rows, 4):
                raise InputError(
                    f"the state of {player!r} has readings {list(moments.shape)}, and [{rows}, 4] are read here: "
                    "register the same sensors as where it was kept"
                )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.steps = int(state["steps"])
        for player, moments in state["meters"].items():
            meter = self._meter(player, moments.device)
            meter.load_state_dict({"moments": moments.to(meter.moments.device)})
        self._loaded = set(state["meters"])
        self._moves = Counter(state["moves"])
        self.rounds.load_state_dict(state["rounds"])

    # ------------------------------------------------------------------------------------------------ its parts

    def _sensed(self, turn: Turn) -> dict[str, Tensor]:
        """What the sensors say of a turn that has what they read."""
        return {
            _short(one): one(turn)
            for one in self._sensors
            if one.role == turn.role
            and all(name in turn for name, needed in parameters(one.function).items() if needed)
        }

    def _loss_of(self, turn: Turn, loss: Any) -> dict[str, Tensor]:
        """The loss that is shown; else the one that can be formed from the logits."""
        if loss is not None:
            return {"loss": loss_shown(loss)}
        side = None if self.loss is None else self.loss.d if turn.role == "D" else self.loss.g
        if side is None or not all(name in turn for name in parameters(side)):
            return {}
        return {"loss": turn.call(side)}

    def _sparse(self) -> bool:
        """Whether this step is one of those at which costly things are measured."""
        return self.steps < DENSE or self.steps % SPARSE == 0

    def _check(self, player: str, optimiser: Any) -> None:
        """Refuse what is no optimiser, and one that is followed under another name."""
        if not hasattr(optimiser, "register_step_pre_hook"):
            raise InputError(f"follow({player!r}, {type(optimiser).__name__}): hand over the player's optimiser")
        other = next((name for name, one in self._optimisers.items() if one is optimiser and name != player), None)
        if other is not None:
            raise InputError(
                f"follow({player!r}, ...): this optimiser is followed as {other!r} already, and moves both at once, so "
                "that neither's steps can be told: give each player an optimiser of its own, or follow neither"
            )

    def _replace(self, player: str, trained: list[Tensor]) -> None:
        """Leave the optimiser that was followed before, if this one was made anew for the same weights."""
        held = {id(p) for p in self._followed.get(player, [])}
        if held and held.isdisjoint(map(id, trained)):
            raise InputError(
                f"follow({player!r}, ...): {player!r} is followed by another optimiser, which moves other weights, and "
                "a player's steps are read of one: put both into one as parameter groups, or follow one of them"
            )
        for hook in self._hooks.pop(player, []):
            hook.remove()

    def _add(self, player: str, values: Mapping[str, Tensor]) -> None:
        """Take values into a player's meter, those of one length together."""
        for size in sorted({len(value) for value in values.values()}):
            group = {name: value for name, value in values.items() if len(value) == size}
            meter = self._meter(player, next(iter(group.values())).device)
            meter.add({name: value.to(meter.moments.device) for name, value in group.items()})

    def _readings(self, player: str) -> list[str]:
        """The names of what is read of a player."""
        return [*dict.fromkeys([*OWN, *(_short(one) for one in self._sensors if one.role == role_of(player))])]

    def _meter(self, player: str, device: torch.device) -> Meter:
        """A player's meter, where its first values lie, and after a checkpoint was read where the next ones do."""
        loaded = player in self._loaded
        if player not in self.meters or (loaded and self.meters[player].moments.device != device):
            made = Meter(self._readings(player), device)
            if loaded:
                made.load_state_dict(self.meters[player].state_dict())
            self.meters[player] = made
        self._loaded.discard(player)
        return self.meters[player]


def _short(sensor: Sensor) -> str:
    return sensor.name.partition(".")[2]
