"""Write the tables of README.md and docs/ from the registry, the dataclasses, the command line and rows of benchmarks.

python docs/generate.py            rewrite what stands between `<!-- generated: NAME -->` and `<!-- end -->`
python docs/generate.py --check    change nothing; exit code 1 if anything is out of date
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from equipoise.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent))  # for those who load this page by its path
import balance_tables

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md", "docs/recipes.md", "docs/parts.md", "docs/commands.md", "docs/diagnose.md", "docs/steering.md",
    "docs/studies/balance.md",
)  # fmt: skip
BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
EXAMPLE = ((3, 32, 32), 50_000)  # the shape and the number of images that recipes are shown for


def main() -> int:
    """Bring all pages up to date; with --check, say which are not."""
    stale = []
    for page in PAGES:
        path = ROOT / page
        old = path.read_text(encoding="utf-8")
        new = filled(old)
        if new != old:
            stale.append(page)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    print("\n".join(stale) or "Everything is up to date.")
    return int(bool(stale) and "--check" in sys.argv)


def filled(page: str) -> str:
    """A page with every generated block made anew."""
    return BLOCK.sub(lambda match: f"{match[1]}{made(match[2])}\n{match[3]}", page)


def made(name: str) -> str:
    """A table by its name."""
    return balance_tables.TABLES[name]() if name in balance_tables.TABLES else TABLES[name]()


# ------------------------------------------------------------------------------------------------ tables


def recipes_in_short() -> str:
    """The recipes with what they are for."""
    from equipoise import registry

    return table(
        ("recipe", "what it is", "paper"),
        ((f"`{e.name}`", e.claim, paper(e.paper)) for e in registry.entries("recipe")),
    )


def recipes_in_full() -> str:
    """The recipes with their main values, for 32x32 images."""
    from equipoise import registry

    head = ("recipe", "network", "loss", "terms", "lr of G, D", "betas", "D steps", "batch", "EMA kimg", "kimg")
    rows = []
    for entry in registry.entries("recipe"):
        cpu, gpu = entry.part(*EXAMPLE, "cpu"), entry.part(*EXAMPLE, "cuda")
        rows += [[f"`{entry.name}`{', CPU' if cpu != gpu else ''}", *in_a_line(cpu)]]
        rows += [[f"`{entry.name}`, GPU", *in_a_line(gpu)]] if cpu != gpu else []
    return table(head, rows)


def in_a_line(recipe: Recipe) -> list[str]:
    """A recipe's main values."""
    terms = [f"{name} ({', '.join(f'{k} {v:g}' for k, v in given.items())})" for name, given in recipe.terms.items()]
    options = [f"{name} {written(value)}" for name, value in recipe.network.options.items()]
    return [
        ", ".join([recipe.network.name, f"width {recipe.network.width}", *options]),
        recipe.loss,
        ", ".join(terms) or "none",
        f"{recipe.G.lr:g}, {recipe.D.lr:g}",
        f"{recipe.D.beta1:g}, {recipe.D.beta2:g}",
        f"{recipe.D.steps:g}",
        f"{recipe.batch}",
        f"{recipe.ema_kimg:g}",
        f"{recipe.kimg:g}",
    ]


def recipe_notes() -> str:
    """Each recipe's docstring and schedules."""
    from equipoise import registry

    lines = []
    for entry in registry.entries("recipe"):
        recipe = entry.part(*EXAMPLE)
        lines.append(f"- **{entry.name}**: {' '.join((inspect.getdoc(entry.part) or '').split())}")
        for name, schedule in recipe.schedules.items():
            lines.append(
                f"  - `{name}`: {schedule.shape}, factor {schedule.start:g} to {schedule.end:g}, "
                f"{schedule.begin:g} to {schedule.until:g} of the run"
            )
    return "\n".join(lines)


def settings() -> str:
    """Every value of a recipe by its path."""
    from equipoise.recipe import Network, Player, Recipe

    said = remarks(Recipe) | {f"network.{k}": v for k, v in remarks(Network).items()}
    said |= {f"{role}.{k}": v for role in "GD" for k, v in remarks(Player).items()}
    rows = []
    for path, value in Recipe().values().items():
        rows.append((f"`{path}`", written(value), said.get(path, "")))
    return table(("path", "default", "what it is"), rows)


def schedule_settings() -> str:
    """What a schedule has."""
    from equipoise.schedules import Schedule

    return table(
        ("path", "default", "what it is"),
        (
            (f"`schedules.NAME.{name}`", written(getattr(Schedule(), name)), said)
            for name, said in remarks(Schedule).items()
        ),
    )


def term_settings() -> str:
    """Terms and augmentations with their settings."""
    from equipoise import registry

    rows = []
    kinds = ("term", "augmentation", "weighting", "constraint", "rule", "rate")
    for entry in [entry for kind in kinds for entry in registry.entries(kind)]:
        function = entry.part.__init__ if inspect.isclass(entry.part) else entry.part
        if inspect.isclass(entry.part) and "__init__" not in vars(entry.part):
            continue  # it has no settings
        rows += [(f"`{entry.name}.{n}`", written(d), said) for n, d, said in parameters(function) if n != "self"]
    return table(("path", "default", "what it is"), rows)


def parts(kind: str) -> Callable[[], str]:
    """A table of all parts of a kind."""

    def make() -> str:
        from equipoise import registry

        rows = [(f"`{e.name}`", e.claim.rstrip("."), paper(e.paper)) for e in registry.entries(kind)]
        return table((kind, "what it is good for", "paper"), rows)

    return make


def probes() -> str:
    """The probes with the signals that they tell."""
    from equipoise import registry

    head = ("probe", "tells", "what it is good for", "at every", "cost", "paper")
    rows = []
    for e in registry.entries("probe"):
        often = "where asked for" if e.part.asked else f"{e.part.every} ticks" if e.part.every > 1 else "tick"
        told = ", ".join(f"`{name}`" for name in e.part.tells)
        rows.append((f"`{e.name}`", told, e.claim, often, e.facts["cost"], paper(e.paper)))
    return table(head, rows)


def techniques(kind: str) -> Callable[[], str]:
    """A table of all parts of a kind with what is known of them."""

    def make() -> str:
        from equipoise import registry

        head = (
            kind,
            "formula",
            "what it is good for",
            "treats",
            "cost beside the plain step",
            "defaults",
            "not with",
            "paper",
        )
        rows = []
        for e in registry.entries(kind):
            refused = ", ".join(f"`{name}`" for name in e.facts.get("incompatible", {}))
            minded = ", ".join(f"`{name}` (mind)" for name in e.facts.get("cautions", {}))
            rows.append((f"`{e.name}`", e.facts.get("formula", ""), e.claim.rstrip("."), e.facts.get("treats", ""),
                         e.facts.get("cost", ""), defaults(e.part), ", ".join(x for x in (refused, minded) if x),
                         paper(e.paper)))  # fmt: skip
        return table(head, rows)

    return make


def defaults(part: Any) -> str:
    """The settings of a part that has some, with their defaults."""
    if not inspect.isclass(part):
        return ""
    found = inspect.signature(part).parameters
    return ", ".join(f"{n} {written(p.default)}" for n, p in found.items() if p.default is not inspect.Parameter.empty)


def log_families() -> str:
    """Whose logs are read, and what signals they tell."""
    from equipoise.logs.families import FAMILIES

    rows = []
    for family in FAMILIES:
        told = ", ".join(f"`{name}`" for name in family.signals)
        facts = ", ".join(f"{name} {written(value)}" for name, value in family.facts.items())
        rows.append((family.name, told, facts, "<br>".join(f"`{source}`" for source in family.sources)))
    return table(("family", "signals told", "taken as known", "where these names are written"), rows)


def thresholds() -> str:
    """What the rules hold readings against."""
    from equipoise.diagnosis import limits

    said = remarks_of(limits)
    return table(
        ("threshold", "value", "meaning", "source"),
        (
            (f"`{name}`", f"{one.value:g}", said.get(name, ""), one.source)
            for name, one in vars(limits).items()
            if isinstance(one, limits.Limit)
        ),
    )


def network_options() -> str:
    """The options of each family of networks."""
    from equipoise import networks, registry

    rows = []
    for entry in registry.entries("network"):
        own = networks.options_of(entry.name)
        rows += [
            (f"`{entry.name}`", f"`network.{name}`", written(default), said)
            for name, default, said in parameters(entry.part)
            if name in own
        ]
    return table(("network", "path", "default", "what it is"), rows)


def commands() -> str:
    """The command line's commands, arguments and options."""
    from equipoise.cli import app

    lines: list[str] = []
    for name, function in leaves(app, "equipoise"):
        arguments = {
            p.name.upper(): info.help for p, _, info in asked(function) if type(info).__name__ == "ArgumentInfo"
        }
        lines += [f"## `{' '.join([name, *arguments])}`", "", inspect.getdoc(function) or "", ""]
        lines += [line for argument, said in arguments.items() for line in (f"`{argument}`: {said}.", "")]
        lines += [option_table(function), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip()


def option_table(function: Callable[..., Any]) -> str:
    """A command's options; nothing where it has none."""
    rows = []
    for parameter, kind, info in asked(function):
        if type(info).__name__ == "OptionInfo":
            flag = info.default if info.default is not ... else f"--{parameter.name.replace('_', '-')}"  # as typer does
            default = "" if parameter.default is None or parameter.default is False else written(parameter.default)
            rows.append((f"`{flag}`", value_of(kind), default, info.help or ""))
    return table(("option", "value", "default", "what it does"), rows) if rows else ""


def asked(function: Callable[..., Any]) -> Iterable[tuple[inspect.Parameter, Any, Any]]:
    """A command's parameters, their types, and what typer is told of them."""
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        kind, info = get_args(hints[parameter.name])[:2]
        yield parameter, kind, info


def leaves(app: Any, name: str) -> Iterable[tuple[str, Callable[..., Any]]]:
    """All commands with their functions, those of groups included."""
    for command in app.registered_commands:
        yield f"{name} {command.name or command.callback.__name__}", command.callback
    for group in app.registered_groups:
        yield from leaves(group.typer_instance, f"{name} {group.name}")


def value_of(kind: Any) -> str:
    """What an option takes, in a word."""
    kinds = [one for one in (get_args(kind) or (kind,)) if one is not type(None)]
    kinds = [inner for one in kinds for inner in (get_args(one) or (one,))]
    names = {bool: "", str: "text", int: "whole number", float: "number", Path: "path"}
    return names[kinds[0]]


TABLES: dict[str, Callable[[], str]] = {
    "recipes-in-short": recipes_in_short,
    "recipes-in-full": recipes_in_full,
    "recipe-notes": recipe_notes,
    "settings": settings,
    "schedule-settings": schedule_settings,
    "term-settings": term_settings,
    "network-options": network_options,
    "log-families": log_families,
    "thresholds": thresholds,
    "parts-probe": probes,
    "commands": commands,
    **{
        f"parts-{kind}": parts(kind)
        for kind in ("network", "initialisation", "schedule", "sensor", "features", "preset", "finding", "controller")
    },
    **{
        f"parts-{kind}": techniques(kind)
        for kind in ("loss", "term", "augmentation", "weighting", "constraint", "rule", "optimiser", "rate")
    },
}


# ------------------------------------------------------------------------------------------------ reading the source


def remarks(kind: type) -> dict[str, str]:
    """The comments beside a dataclass's fields."""
    source = textwrap.dedent(inspect.getsource(kind))
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    said = comments(source)
    fields = [node for node in body.body if isinstance(node, ast.AnnAssign)]
    return {ast.unparse(node.target): between(said, node.lineno, node.end_lineno or node.lineno) for node in fields}


def remarks_of(module: Any) -> dict[str, str]:
    """The comments beside a module's constants."""
    source = inspect.getsource(module)
    said = comments(source)
    lines = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {ast.unparse(n.targets[0]): between(said, n.lineno, n.end_lineno or n.lineno) for n in lines}


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, str]]:
    """A function's parameters: name, default, and the comment beside."""
    source = textwrap.dedent(inspect.getsource(function))
    body = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    said, lines = comments(source), {arg.arg: arg.lineno for arg in (*body.args.args, *body.args.kwonlyargs)}
    found = inspect.signature(function).parameters
    return [(name, p.default, between(said, lines[name], lines[name])) for name, p in found.items() if name in lines]


def comments(source: str) -> dict[int, str]:
    """The comments of a source text by line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def between(said: dict[int, str], first: int, last: int) -> str:
    """The comments on some lines, as one."""
    return " ".join(said[line] for line in range(first, last + 1) if line in said and not said[line].startswith("fmt:"))


# ------------------------------------------------------------------------------------------------ Markdown


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    names = list(head)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def written(value: Any) -> str:
    """A default as one would write it."""
    if value is inspect.Parameter.empty or (isinstance(value, dict) and not value):
        return ""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def paper(name: str) -> str:
    """A link to a paper."""
    return f"[{name}](https://arxiv.org/abs/{name.removeprefix('arXiv:')})" if name.startswith("arXiv:") else name


if __name__ == "__main__":
    sys.exit(main())
