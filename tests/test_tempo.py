"""Discriminator moves per generator move as a real number: counted."""

import math
from fractions import Fraction

import pytest

from equipoise.errors import InputError
from equipoise.tempo import Tempo


@pytest.mark.parametrize(
    ("ratio", "moves"),
    [
        (1.0, [1, 1, 1, 1, 1, 1]),
        (5.0, [5, 5, 5, 5, 5, 5]),
        (1.5, [1, 2, 1, 2, 1, 2]),
        (0.5, [1, 0, 1, 0, 1, 0]),
        (0.25, [1, 0, 0, 0, 1, 0]),
        (2.25, [2, 2, 2, 3, 2, 2]),
    ],
)
def test_counts(ratio, moves):
    tempo = Tempo(ratio)
    assert [tempo.moves() for _ in range(6)] == moves


@pytest.mark.parametrize("ratio", ["5", "1", "1.5", "0.5", "0.3", "0.1", "0.7", "2.9", "0.333"])
def test_the_long_run_is_exact_and_never_more_than_one_move_off(ratio):
    tempo, exact, total = Tempo(float(ratio)), Fraction(ratio), 0
    for generator_moves in range(1, 20_001):
        total += tempo.moves()
        ahead = total - exact * generator_moves
        assert -1 < ahead < 1 or (exact < 1 and 0 <= ahead < 1)
    assert abs(total - exact * 20_000) < 1


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.3, 0.7, 0.9, 1.1, 3.7])
def test_the_first_generator_move_finds_a_discriminator_that_has_moved(ratio):
    assert Tempo(ratio).moves() >= 1


def test_owed_is_the_whole_memory():
    straight, resumed = Tempo(0.3), Tempo(0.3)
    for _ in range(7):
        straight.moves()
    resumed.owed = straight.owed
    assert [straight.moves() for _ in range(50)] == [resumed.moves() for _ in range(50)]


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_tempo_is_refused(ratio):
    with pytest.raises(InputError, match=r"D.steps=.*must be a number above 0"):
        Tempo(ratio)


def test_no_more_moves_are_made_than_are_left():
    tempo = Tempo(2.5, left=6)
    assert [tempo.moves() for _ in range(4)] == [2, 3, 1, 0]
