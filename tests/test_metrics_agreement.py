"""The distances agree with other libraries' to 1e-4: with values frozen in a file, and live where one is installed.

`tests/fixtures/agreement.json` says which versions made the values; `benchmarks/agreement.py` makes them anew.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
FROZEN = json.loads((ROOT / "tests" / "fixtures" / "agreement.json").read_text(encoding="utf-8"))
LIBRARIES = ("torch-fidelity", "torchmetrics", "pytorch-fid", "prdc")


@pytest.fixture(scope="module")
def agreement() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agreement", ROOT / "benchmarks" / "agreement.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["wide", "uneven", "few"])
def test_values_agree_with_those_of_the_libraries(agreement: ModuleType, name: str) -> None:
    ours = agreement.ours(*agreement.features(name))
    assert tuple(FROZEN["values"][name]) == LIBRARIES == tuple(FROZEN["versions"])
    seen = set()
    for library, values in FROZEN["values"][name].items():
        for metric, value in values.items():
            assert ours[metric] == pytest.approx(value, abs=1e-4, rel=0), f"{library}: {metric}"
            seen.add(metric)
    assert seen == set(ours)  # each of ours has been compared with somebody's


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_libraries_still_say_so(agreement: ModuleType, library: str) -> None:
    try:
        for name in agreement.SETS:
            for metric, value in agreement.values(library, name).items():
                assert value == pytest.approx(FROZEN["values"][name][library][metric], abs=1e-4, rel=0)
    except ImportError as error:
        pytest.skip(f"{library} is not installed ({error})")


def test_the_values_are_no_trifles() -> None:
    """An agreement of zeros or ones would show nothing."""
    for values in FROZEN["values"].values():
        assert values["pytorch-fid"]["Fréchet"] > 0.5
        assert values["torch-fidelity"]["kernel"] > 0.01
        assert 0.05 < values["prdc"]["precision, k = 5"] < 0.95
        assert 0.05 < values["prdc"]["coverage, k = 5"] < 0.95
