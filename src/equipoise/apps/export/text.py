"""Texts that are handed over, made of templates."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, **given: Any) -> str:
    """The text of a template."""
    return _environment().get_template(name).render(given)


def word(text: str) -> str:
    """What of a name from a run's files may stand in a docstring or a comment."""
    return re.sub(r"[^\w .:-]", "_", text)


def line(text: str) -> str:
    """What of a name from a run's files stands in a line of Markdown: no line breaks, no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


@functools.cache
def _environment() -> Environment:
    """Templates of plain text, which refuse names that are not given; `page.html` alone escapes what it is given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("equipoise.apps.export", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"repr": repr, "word": word, "line": line}
    return made
