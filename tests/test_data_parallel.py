"""Order, lookahead and errors of the threads."""

import pytest

from equipoise.data.parallel import CHUNK, ordered


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_few_jobs_run_ahead(threads: int) -> None:
    taken = 0

    def jobs() -> object:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    ahead = []
    for done, result in enumerate(ordered(lambda number: number**2, jobs(), threads)):  # type: ignore[arg-type]
        assert result == done**2
        ahead.append(taken - done)
    assert len(ahead) == 1000 and max(ahead) <= (2 * threads + 2) * CHUNK


def test_an_error_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ordered(lambda number: 1 // number, [1, 0, 1], 2))
