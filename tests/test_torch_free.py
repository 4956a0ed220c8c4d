"""Judging logs needs no PyTorch: these modules import where it is missing."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy", "PIL", "safetensors", "tensorboardX"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import {module}
"""


@pytest.mark.parametrize(
    "module",
    [
        "equipoise",
        "equipoise.signals",
        "equipoise.diagnosis",
        "equipoise.controllers",
        "equipoise.balancer",
        "equipoise.logs",
    ],
)
def test_imports_without_torch(module):
    program = BLOCKED.format(module=module)
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_block_works():
    found = subprocess.run([sys.executable, "-c", BLOCKED.format(module="equipoise.turn")], capture_output=True)
    assert found.returncode == 1
