"""What a history cannot tell, and which readings would."""

from __future__ import annotations

from typing import NamedTuple

from equipoise.diagnosis.history import History
from equipoise.diagnosis.limits import LONG, MEMORY, SURE


class Question(NamedTuple):
    """Something one wants to know, and the signals any of which would tell."""

    what: str
    signals: tuple[str, ...]
    how: str  # to get one of them


QUESTIONS = (
    Question(
        "whether the run is well at all: how far D is ahead hardly predicts it",
        ("energy", "frechet"),
        "measure how far samples are from held-out data: energy, or frechet (FID)",
    ),
    Question(
        "whether modes are missing",
        ("diversity", "coverage", "recall"),
        "measure the samples' diversity, coverage or recall",
    ),
    Question(
        "whether D is far ahead, or blind",
        ("loss_D", "win_rate", "auc", "gap"),
        "log D's loss and say which it is, or the logits with their spread",
    ),
    Question(
        "whether D memorises or is merely ahead",
        ("memory",),
        "hold back a few per cent of the data, and log what D says of them (memory)",
    ),
    Question(
        "which player moves too fast or too slowly",
        ("step_D", "step_G"),
        "log the size of a step over that of the weights (step_D, step_G)",
    ),
    Question(
        "whether G's gradient vanishes or explodes",
        ("pull", "gradient_G", "adversarial_share"),
        "log the gradient of G's loss at its output (pull), or its norm (gradient_G)",
    ),
    Question("whether the two chase each other", ("swing",), "log the losses of every step, or swing"),
)

NOTHING = "anything: no finite reading of either player has come; observe each update, before the step is counted"
WAITING = (
    "what the adversarial loss does to G: it has had no share in G's gradient so far; if it should have started, it is "
    "weighted by 0, or detached on its way to G"
)
FEW = (
    "whether D memorises: memory is {:.2g} with a standard error of {:.2g}, were the held-out samples always the same; "
    "to tell, show D more of them at once"
)


def untold(history: History) -> tuple[str, ...]:
    """A sentence for each question that no reading answers."""
    if not any(points for name, points in history.signals.items() if name != "nonfinite"):
        return (NOTHING,)
    asked = tuple(
        f"{question.what}; to tell, {question.how}"
        for question in QUESTIONS
        if not any(history.has(name) for name in question.signals)
    )
    waiting = (WAITING,) if history.facts.get("waiting") else ()
    return (*asked, *waiting, *_few(history))


def _few(history: History) -> tuple[str, ...]:
    """That D seems to memorise, by no more than so few held-out samples may be off by chance."""
    value, noise = history.now("memory", LONG), history.now("memory_noise", LONG)
    return (FEW.format(value, noise),) if value > MEMORY.value >= value - SURE * noise else ()
