"""Actuators of what there is to turn, in plain Python: any object's attribute, an optimiser's learning rate, a dial."""

from __future__ import annotations

import math
from typing import Any

from equipoise.actuator import Actuator as Actuator
from equipoise.actuator import Handover as Handover
from equipoise.actuator import Moved as Moved
from equipoise.actuator import Scale as Scale
from equipoise.actuator import Turnable as Turnable
from equipoise.errors import InputError


def attribute(
    owner: Any,
    name: str,  # of the attribute: a number, or a 0-d tensor that is filled
    low: float,
    high: float,
    scale: Scale = "linear",
    largest: float = math.inf,
    label: str | None = None,
) -> Actuator:
    """An attribute of any object."""

    def get() -> float:
        held = getattr(owner, name)
        return float(held.detach() if hasattr(held, "detach") else held)

    def put(value: float) -> None:
        held = getattr(owner, name)
        if hasattr(held, "fill_"):
            held.detach().fill_(value)  # a parameter too
        else:
            setattr(owner, name, value)

    if fault := _stuck(owner, name):
        raise InputError(
            f"the attribute {name!r} of {type(owner).__name__} {fault}, and cannot be turned: give one that is a "
            "number or a 0-d tensor of float32"
        )
    return Actuator(label or name, get, put, low, high, scale, largest, (id(owner), name))


def _stuck(owner: Any, name: str) -> str:
    """Why an attribute cannot be turned; empty if it can."""
    if not hasattr(owner, name):
        return "is not there"
    held = getattr(owner, name)
    kind = str(getattr(held, "dtype", type(held).__name__))
    try:
        float(held.detach() if hasattr(held, "detach") else held)
        if not hasattr(held, "fill_"):
            setattr(owner, name, held)
    except (TypeError, ValueError, RuntimeError):
        return f"is a {type(held).__name__}"
    except AttributeError:
        return "cannot be set"
    if isinstance(held, bool) or (hasattr(held, "fill_") and not held.is_floating_point()):
        return f"is of {kind}, which has no values between"
    return f"is of {kind}, which loses small moves" if hasattr(held, "fill_") and held.element_size() < 4 else ""


def learning_rate(
    optimiser: Any,  # a torch.optim.Optimizer
    low: float,
    high: float,
    largest: float = math.log(2.0),  # in natural logarithms: at most a factor of two at a time
    scheduler: Any = None,  # its torch.optim.lr_scheduler, which owns the rate: then the base value is turned
    label: str = "lr",
) -> Actuator:
    """The learning rate of all parameter groups, in proportion; the first group's is read.

    Where a scheduler sets the rate anew at every step, its `base_lrs` are turned too, so that neither undoes the other;
    of several in a row, those of each.
    """
    if not hasattr(optimiser, "param_groups"):
        raise InputError(
            f"learning_rate({type(optimiser).__name__}, ...): hand over an optimiser, whose rate is turned"
        )
    inner, based = _unwrapped(optimiser), _based(scheduler)
    _check_scheduled(inner, scheduler, based, label)

    def get() -> float:
        return float(based[0].base_lrs[0] if based else optimiser.param_groups[0]["lr"])

    def put(value: float) -> None:
        _check_scheduled(inner, scheduler, based, label)  # one may have come since
        now = get()
        factor = value / now if now else 1.0  # a rate that has been brought to 0 stays there
        for group in optimiser.param_groups:  # which are others once a state has been loaded
            if hasattr(group["lr"], "mul_"):
                group["lr"].mul_(factor)
            else:
                group["lr"] = group["lr"] * factor
        for one in based:
            one.base_lrs = [base * factor for base in one.base_lrs]

    if get() == 0:
        raise InputError(
            f"{label} is turned by factors, and 0 stays 0 under any: give the optimiser a rate above 0, or "
            "scheduler=... where one brings it up"
        )
    return Actuator(label, get, put, low, high, "log", largest, (id(inner), "lr"))


def _unwrapped(optimiser: Any) -> Any:
    """The optimiser in Accelerate's and Lightning's wrappers."""
    return getattr(optimiser, "optimizer", optimiser)


def _check_scheduled(optimiser: Any, scheduler: Any, based: list[Any], label: str) -> None:
    """Refuse a rate that a scheduler sets which is not handed over, or is another optimiser's."""
    step = getattr(optimiser, "step", None)
    if scheduler is None and hasattr(step, "_wrapped_by_lr_sched"):
        raise InputError(
            f"a scheduler sets {label} too, and may undo every move: hand it over, "
            "learning_rate(optimiser, low, high, scheduler=...)"
        )
    if any(_unwrapped(getattr(one, "optimizer", optimiser)) is not optimiser for one in based):
        raise InputError(f"the scheduler handed over for {label} is another optimiser's: hand over the one of this")


def _based(scheduler: Any) -> list[Any]:
    """The schedulers that hold base rates; one that lowers the rate from where it stands needs nothing turned."""
    scheduler = getattr(scheduler, "scheduler", scheduler)  # in Accelerate's wrapper
    if scheduler is None or type(scheduler).__name__ == "ReduceLROnPlateau":
        return []
    inner = getattr(scheduler, "_schedulers", None)  # of SequentialLR and ChainedScheduler
    based = [scheduler] if inner is None else [found for one in inner for found in _based(one)]
    if type(scheduler).__name__ in ("OneCycleLR", "CyclicLR") or not all(hasattr(one, "base_lrs") for one in based):
        raise InputError(
            f"scheduler={type(scheduler).__name__}(...) keeps no base rates that could be turned (base_lrs), and would "
            "undo every move: take one that does, such as LambdaLR"
        )
    return based


def dial(
    made: Any,  # an `equipoise.schedules.Dial`: its base is turned, its schedule goes on
    name: str,
    low: float,
    high: float,
    scale: Scale = "linear",
    largest: float = math.inf,
) -> Actuator:
    """A dial of our own trainer."""
    return Actuator(name, lambda: float(made.base), made.set, low, high, scale, largest)
