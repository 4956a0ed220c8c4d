"""Judging logs needs no PyTorch: these modules import where it is missing."""

import subprocess
import sys
from pathlib import Path

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
        "equipoise.loop",
        "equipoise.logs.judge",
    ],
)
def test_imports_without_torch(module):
    program = BLOCKED.format(module=module)
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_block_works():
    found = subprocess.run([sys.executable, "-c", BLOCKED.format(module="equipoise.turn")], capture_output=True)
    assert found.returncode == 1


def test_a_log_is_judged_without_torch():
    log = Path(__file__).parent / "fixtures" / "logs" / "stylegan"
    program = BLOCKED.format(module="equipoise.cli") + f"\nsys.argv = ['equipoise', 'diagnose', {str(log)!r}]"
    done = subprocess.run([sys.executable, "-c", program + "\nequipoise.cli.main()"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("a log of stylegan, up to 44 kimg"), done.stderr
