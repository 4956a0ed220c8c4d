"""Plain data as JSON can hold it."""

from __future__ import annotations

import math
from typing import Any


def jsonable(value: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have, and lists for tuples."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
