"""The resolution that is chosen where none is asked for."""

import pytest

from equipoise.data.sizes import default_resolution


@pytest.mark.parametrize(
    ("shorter", "side"),
    [
        (3, 8),
        (8, 8),
        (13, 8),
        (14, 16),
        (27, 16),
        (28, 32),
        (32, 32),
        (55, 32),
        (56, 64),
        (69, 64),
        (224, 256),
        (4000, 256),
    ],
)
def test_the_largest_power_of_two_that_the_images_fill_to_seven_eighths(shorter, side):
    assert default_resolution(shorter) == side
