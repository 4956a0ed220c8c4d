"""`import equipoise` is quick: heavy packages load only when they are used."""

import subprocess
import sys

import pytest

import equipoise

HEAVY = ("torch", "numpy", "PIL", "rich", "typer", "tensorboardX", "safetensors")


@pytest.mark.parametrize(("module", "heavy"), [("equipoise", HEAVY), ("equipoise.cli", ("torch", "tensorboardX"))])
def test_heavy_packages_wait(module, heavy):
    program = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_every_public_name_is_there():
    assert all(getattr(equipoise, name) is not None for name in equipoise.__all__)
    assert set(equipoise.__all__) <= set(dir(equipoise))
    with pytest.raises(AttributeError, match="no attribute 'Gan'"):
        equipoise.Gan
