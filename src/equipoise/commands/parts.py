"""`equipoise list`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

PLURALS = {"loss": "losses", "features": "features"}


def list_parts(as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all facts")] = False) -> None:
    """List recipes and parts with their papers."""
    from equipoise import registry

    entries = registry.entries()
    if as_json:
        said = ({name: fact for name, fact in e.facts.items() if not callable(fact)} for e in entries)
        own = ({"kind": e.kind, "name": e.name, "paper": e.paper, "claim": e.claim} for e in entries)
        typer.echo(json.dumps([one | facts for one, facts in zip(own, said, strict=True)], indent=1))
        return
    for kind in ("recipe", *(kind for kind in registry.HOMES if kind != "recipe")):
        chosen = [entry for entry in entries if entry.kind == kind]
        if chosen:
            typer.echo(f"{PLURALS.get(kind, kind + 's')}:")
        width = max((len(entry.name) for entry in chosen), default=0)
        for entry in chosen:
            typer.echo(f"  {entry.name:{max(width, 15)}} {entry.paper:17} {' '.join(entry.claim.split())}")
