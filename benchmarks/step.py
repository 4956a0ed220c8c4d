"""What the training step costs beside a bare PyTorch loop with the same networks and settings.

Both run in one process, in interleaved pairs of short blocks in random order, so that whatever else the machine does
hits both alike. The bare loop is what one would write by hand: torch.optim.Adam, one loss, the penalties, an average of
the generator; no sensors, no dials, no guard against non-finite values.

    python benchmarks/step.py                      # baseline at 32x32 and digits, on the CPU or the GPU that is there
    python benchmarks/step.py --recipe dcgan --pairs 50
    OMP_NUM_THREADS=1 python benchmarks/step.py --cpu-time     # on a machine with other work
"""

from __future__ import annotations

import argparse
import copy
import random
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise import build, plan
from equipoise.data import from_arrays
from equipoise.recipe import Recipe
from equipoise.registry import find
from equipoise.replays import USUAL
from equipoise.terms import Loss
from equipoise.turn import ROLES, parameters

Move = Callable[[], None]
Times = NDArray[np.float64]


def bare_loop(recipe: Recipe, pair: tuple[nn.Module, nn.Module], images: Tensor) -> Move:
    """One iteration, D then G, as a plain loop."""
    generator, discriminator = pair
    adam = {
        network: torch.optim.Adam(network.parameters(), lr=own.lr, betas=(float(own.beta1), own.beta2), eps=own.eps)
        for network, own in ((generator, recipe.G), (discriminator, recipe.D))
    }
    average = copy.deepcopy(generator).requires_grad_(False)
    loss: Loss = find("loss", recipe.loss).part
    gammas = {name: float(settings["gamma"]) for name, settings in recipe.terms.items()}
    intervals = {name: int(settings.get("every", 1)) for name, settings in recipe.terms.items()}
    latent, paired, count = recipe.network.latent_dim, "real_logits" in parameters(loss.g), [0]
    mixed, device = bool(recipe.mixed), images.device.type

    def judge(shown: Tensor, precise: bool) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=mixed and not precise):
            logits: Tensor = discriminator(shown, None)
        return logits.float()

    def generate() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            made: Tensor = generator(torch.randn(len(images), latent, device=images.device), None)
        return made.float()

    def iteration() -> None:
        real = images.to(torch.float32).div_(127.5).sub_(1)
        due = [name for name, every in intervals.items() if count[0] % every == 0]
        real.requires_grad_("r1" in due)
        with torch.no_grad():
            fake = generate()
        fake.requires_grad_("r2" in due)
        r, f = judge(real, bool(due)), judge(fake, bool(due))
        value = loss.d(r, f).mean()
        for name, score, shown in (("r1", r, real), ("r2", f, fake)):
            if name in due:
                (gradient,) = torch.autograd.grad(score.sum(), shown, create_graph=True)
                value = value + intervals[name] * gammas[name] / 2 * gradient.square().flatten(1).sum(1).mean()
        adam[discriminator].zero_grad()
        value.backward()
        adam[discriminator].step()

        discriminator.requires_grad_(False)
        fields = {"fake_logits": judge(generate(), False)}
        if paired:
            fields["real_logits"] = judge(real.detach(), False)
        value = loss.g(**fields).mean()
        adam[generator].zero_grad()
        value.backward()
        adam[generator].step()
        discriminator.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 0.01)
        count[0] += 1

    return iteration


def our_loop(recipe: Recipe, pair: tuple[nn.Module, nn.Module], images: Tensor, sensing: bool) -> Move:
    """The same iteration by the training step, with or without sensors."""
    step = build.assemble(recipe, *pair, images.device, sensing=sensing)

    def iteration() -> None:
        for role in ROLES:
            step.move(role, images, None, step.due(role))
            step.moves[role] += 1

    return iteration


def sensing_alone(recipe: Recipe, pair: tuple[nn.Module, nn.Module], images: Tensor, sensing: bool) -> Move:
    """What the step does to read both players' turns of one iteration, without the rest of the step."""
    step = build.assemble(recipe, *pair, images.device, sensing=sensing)
    latents = torch.randn(len(images), recipe.network.latent_dim, device=images.device)
    turns = {role: step.turn(role, images, None, latents, frozenset()) for role in ROLES}
    values = {role: step.objective(turns[role], frozenset()) for role in ROLES}
    seen = step.seen
    waiting, gradient = [s for s in seen.sensors["G"] if s.reads("pull")], torch.randn_like(turns["G"]["fake"])
    ok, fields = torch.ones((), device=images.device), turns["G"]._fields

    def iteration() -> None:
        for role in ROLES:
            seen.see(turns[role], values[role])
        if waiting:
            fields.pop("pull", None)
            seen._awaited = turns["G"], waiting
            seen._read_pull(gradient)
        for role in ROLES:
            seen.record(role, step.optimisers[role], ok, [])

    return iteration


def measure(
    loops: dict[str, Move], pairs: int, block: int, device: str, clock: Callable[[], float]
) -> dict[str, Times]:
    """Seconds per iteration of each loop in each round, the loops in random order within a round."""
    order, times = list(loops), {name: np.zeros(pairs) for name in loops}
    for name in order:
        for _ in range(USUAL + 1):  # from then on moves are replayed, on CUDA
            loops[name]()
    for one in range(pairs):
        random.shuffle(order)
        for name in order:
            began = clock()
            for _ in range(block):
                loops[name]()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name][one] = (clock() - began) / block
    return times


def interval(ratios: Times) -> tuple[float, float, float]:
    """Median and its 95 % interval by bootstrap."""
    source = np.random.default_rng(0)
    medians = np.median(source.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(np.median(ratios)), float(low), float(high)


def compare(
    name: str, settings: list[str], shape: tuple[int, ...], pairs: int, block: int, device: str, cpu: bool
) -> None:
    """Print the cost of the step beside the bare loop for one recipe."""
    pixels = np.random.default_rng(0).integers(0, 256, (256, *shape), dtype=np.uint8)
    request = plan.Request("benchmark", name, settings, device=device)
    recipe = plan.resolve(request, from_arrays(pixels)).config.recipe
    images = torch.from_numpy(pixels[: recipe.batch]).to(device)
    torch.manual_seed(0)
    players = build.players(recipe, shape, 0)

    def pair() -> tuple[nn.Module, nn.Module]:
        g, d = copy.deepcopy(players)
        return g.to(device), d.to(device)

    loops = {
        "bare": bare_loop(recipe, pair(), images),
        "step": our_loop(recipe, pair(), images, sensing=False),
        "step with sensors": our_loop(recipe, pair(), images, sensing=True),
    }
    times = measure(loops, pairs, block, device, time.process_time if cpu else time.perf_counter)
    base = times["bare"]
    what = f"{name} {'x'.join(map(str, shape))}, batch {recipe.batch}"
    print(f"{what}, {pairs} pairs of {block} on {device}, {torch.get_num_threads()} threads{', CPU time' * cpu}")
    print(f"  {'bare':18} {np.median(base) * 1e3:9.3f} ms  {recipe.batch / np.median(base):8.0f} images/s")
    for other, beside in (("step", "bare"), ("step with sensors", "bare"), ("step with sensors", "step")):
        ratio, low, high = interval(times[other] / times[beside])
        extra, least, most = interval((times[other] - times[beside]) * 1e6)
        print(
            f"  {other:18} {np.median(times[other]) * 1e3:9.3f} ms  beside {beside:5}"
            f"{100 * (ratio - 1):+6.2f} % [{100 * (low - 1):+.2f}, {100 * (high - 1):+.2f}]  "
            f"{extra:+8.0f} us [{least:+.0f}, {most:+.0f}]"
        )
    loops = {str(on): sensing_alone(recipe, pair(), images, on) for on in (True, False)}
    alone = measure(loops, 100, 20, device, time.process_time if cpu else time.perf_counter)
    cost, low, high = interval((alone["True"] - alone["False"]) * 1e6)
    share = 1e-4 / np.median(times["step"])
    print(
        f"  the sensors' own work: {cost:.0f} us [{low:.0f}, {high:.0f}], "
        f"{share * cost:.3f} % [{share * low:.3f}, {share * high:.3f}] of the step"
    )


def main() -> None:
    """Measure the recipes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", help="default: baseline and digits")
    parser.add_argument("--set", action="append", default=[], help="path=value, for every recipe")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cpu-time", action="store_true", help="of this process alone: for a machine that is busy")
    chosen = parser.parse_args()
    for name in chosen.recipe or ["baseline", "digits"]:
        shape, pairs, block = ((1, 8, 8), 4 * chosen.pairs, 25) if name == "digits" else ((3, 32, 32), chosen.pairs, 1)
        compare(name, chosen.set, shape, pairs, block, chosen.device, chosen.cpu_time)


if __name__ == "__main__":
    main()
