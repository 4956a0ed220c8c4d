"""What a monitor is asked for when it is made, checked: a wrong word is to be refused there and not hours later."""

from __future__ import annotations

import math
import numbers
from typing import Any

from equipoise.errors import InputError


def check_asked(loss: Any, total: Any, tick_kimg: Any, look: Any, rules: Any, on_tick: Any) -> None:
    """Refuse what a monitor cannot do; the names of losses and modes are checked where they are known."""
    if not _number(tick_kimg) or not tick_kimg > 0:
        raise InputError(f"tick_kimg={tick_kimg!r}: the distance of two looks must be above 0 thousand samples")
    if loss is not None and not isinstance(loss, str) and not _is_pair(loss):
        raise InputError(
            f"loss={loss!r}: give a registered name, or the ideal values of D's and G's loss as a pair, (2.0, 0.0)"
        )
    if total is not None and (not _number(total) or total < 1):
        raise InputError(f"total={total!r}: give the number of real samples of the whole run, or leave it out")
    if look is not None and not callable(look):
        raise InputError("look= takes a function that returns samples, called anew at each look, not the samples")
    if on_tick is not None and not callable(on_tick):
        raise InputError(f"on_tick={on_tick!r}: give a function of a decision, such as a lambda that prints its moves")
    if odd := [one for one in rules or () if not callable(one)]:
        raise InputError(
            f"rules={odd[0]!r}: a rule is a function of a history that returns a finding or None; leave it out for all"
        )


def _number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _is_pair(loss: Any) -> bool:
    """Whether these are two ideal values, of which G's need not be known."""
    pair = isinstance(loss, tuple) and len(loss) == 2
    return pair and _number(loss[0]) and (loss[1] is None or _number(loss[1]))
