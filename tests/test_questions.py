"""The page of questions: its commands parse, its findings exist, and its examples say what it says they do.

EQUIPOISE_EXAMPLES may name a folder where `python docs/questions.py` has run them already.
"""

import os
import re
from pathlib import Path

import pytest
import typer

from equipoise import plan, registry
from equipoise.data import open_dataset
from equipoise.explain import explain
from test_docs import ROOT, load

questions = load(ROOT / "docs" / "questions.py")
ENGLISH, CHINESE = questions.PAGES
EXAMPLES = questions.examples(ENGLISH)
FOUND = re.compile(r"^(good|note|warning|alarm): ([a-z-]+): ", re.MULTILINE)


def lines():
    return [words for example in EXAMPLES if example.language == "sh" for words, _ in example.commands()]


def test_there_is_an_example_for_each_question():
    headings = re.findall(r"^## (\d+)\. ", ENGLISH.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [str(number) for number in range(1, 12)] and len(EXAMPLES) == 11
    assert ENGLISH.read_text(encoding="utf-8").count("<!-- example: ") == 11


@pytest.mark.parametrize("words", [words for words in lines() if words[0] == "equipoise"], ids=" ".join)
def test_every_command_is_understood(words):
    from equipoise.cli import app

    group = typer.main.get_command(app)
    group.commands[words[1]].make_context(words[1], words[2:])  # raises for what it does not know


@pytest.mark.parametrize("words", [words for words in lines() if words[1] == "train"], ids=" ".join)
def test_every_setting_can_be_trained(words):
    if words[2].endswith(".npz") or "--from" in words:
        pytest.skip("needs what the command before it makes")
    settings = [words[number + 1] for number, word in enumerate(words) if word == "--set"]
    asked = plan.Request(words[2], settings=settings, kimg=float(words[words.index("--kimg") + 1]), device="cpu")
    assert words[words.index("--kimg") + 1] in explain(plan.resolve(asked, open_dataset(words[2])))


def test_findings_that_are_named_exist():
    known = {entry.name for entry in registry.entries("finding")}
    for page in questions.PAGES:
        text = page.read_text(encoding="utf-8")
        assert {name for _, name in FOUND.findall(text)} <= known
        table = re.findall(r"^\| .* \| \[\d+\]\(.*?\) \|(.*)\|$", text, re.MULTILINE)
        assert len(table) == 11
        assert {name for row in table for name in re.findall(r"`([a-z-]+)`", row)} <= known


def test_every_example_has_said_something_and_has_its_picture():
    pictures = {path.stem: path for path in questions.IMAGES.iterdir()}
    assert pictures.keys() == {example.name for example in EXAMPLES}
    assert sum(path.stat().st_size for path in pictures.values()) < 1_500_000
    for example in EXAMPLES:
        assert example.said.strip(), example.name
        assert f"(images/questions/{pictures[example.name].name})" in ENGLISH.read_text(encoding="utf-8")


def test_what_is_shown_of_an_output():
    said = "a log\n  loss_D 1\n\nalarm: dead-run: nothing moves\n  because x\n\ncannot be told:\n  much\n"
    assert questions.told(said) == "alarm: dead-run: nothing moves\n  because x\n"
    assert questions.told("a table\n\nmore\n") == "a table\n\nmore\n"
    words, interrupted = questions.Example("a", "sh", "equipoise train ring  # Ctrl-C\n", "").commands()[0]
    assert words == ["equipoise", "train", "ring"] and interrupted


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_says_what_the_page_says(example, tmp_path):
    folder = Path(os.environ.get("EQUIPOISE_EXAMPLES", tmp_path))
    said = questions.play(example, folder)
    assert FOUND.findall(said) == FOUND.findall(example.said)
    assert [line for line in said.splitlines() if line.startswith("exit code")] == [
        line for line in example.said.splitlines() if line.startswith("exit code")
    ]
