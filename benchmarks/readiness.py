"""Does it help to let a discriminator in when it is ready? The VQ autoencoder of the examples, started in several ways.

    python benchmarks/readiness.py [--seeds 3]        about five minutes on one core

Fixed starts are as published (VQGAN's `disc_start`): D is not trained before, and its loss has its full weight at once.
L1 is that of test digits at the end; the share is the adversarial loss's of the decoder's gradient, late in the run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import statistics
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parent.parent / "examples" / "vq_autoencoder.py"
STEPS = 900
STARTS: dict[str, dict[str, Any]] = {
    "readiness, its defaults": {"fade_kimg": 10.0},
    "readiness, fade_kimg=3": {},
    "no delay": {"begin": 0},
    "at a quarter of the run": {"begin": STEPS // 4},
    "half-way": {"begin": STEPS // 2},
    "never": {"begin": STEPS},
}


def run(seed: int, **start: Any) -> Any:
    """What the example comes to, in silence."""
    spec = importlib.util.spec_from_file_location("vq_autoencoder", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with contextlib.redirect_stdout(io.StringIO()):
        return module.main(steps=STEPS, seed=seed, **start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    print("| D comes in | kimg | L1 | share | findings |\n| --- | --- | --- | --- | --- |")
    for name, start in STARTS.items():
        found = [run(seed, **start) for seed in seeds]
        came = ", ".join("-" if one.started_kimg is None else f"{one.started_kimg:.1f}" for one in found)
        costs = [one.after for one in found]
        shares = ", ".join(f"{one.share:.2f}" for one in found)
        named = sorted({finding.name for one in found for finding in one.verdict.findings})
        print(f"| {name} | {came} | {', '.join(f'{cost:.4f}' for cost in costs)}; mean {statistics.mean(costs):.4f} "
              f"| {shares} | {', '.join(named) or 'none'} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
