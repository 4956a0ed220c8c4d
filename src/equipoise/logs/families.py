"""Whose logs are read: which names a family of programs writes, where that is done, and what signals they tell.

Only what converts honestly is converted. Mean logits without their spread tell no distance, a mean probability tells
nothing of a hinge, and a loss is put in relation only where it is known which one it is.
"""

from __future__ import annotations

import math

from equipoise.logs.convert import Logged, gap, gap_of_difference, losses, same, varying, wins
from equipoise.logs.family import SPREADLESS, Family
from equipoise.logs.speech import SPEECH
from equipoise.logs.tokenizers import TOKENIZERS
from equipoise.logs.translation import TRANSLATION

ROUNDED = 1e-3  # what four decimals may hide in a sum of logarithms
NO_ENTROPY = (
    "Loss_D lies below what D(x) and D(G(z)) come to by the cross-entropy of both added up: it is another loss, or a "
    "mean, and tells nothing as long as it is not known which; say --loss, and of a mean --map '2*Loss_D=loss_D'"
)
FIDS = ("Metrics/fid50k_full", "Metrics/fid50k")
STUDIOGAN = (
    "the losses have class terms and penalties in them, so that they read too high; and of runs with acml_steps they "
    "are divided by that, so that they read too low",
)


def _alone(log: Logged) -> float:
    """0 where the losses of an unknown number of discriminators were added up: they stand in relation to nothing."""
    return 0.0 if log.facts.get("added") else 1.0


def _no_entropy(log: Logged) -> str:
    """Why D's loss is no cross-entropy of what it says: that is at least the one of the mean, as logarithms bend."""
    real, fake = dict(log.logged("D(x)")), dict(log.logged("D(G(z))"))
    told = [(real[at], fake[at], loss) for at, loss in log.logged("Loss_D") if at in real and at in fake]
    sure = [(r, f, loss) for r, f, loss in told if r > 0 and f < 1]
    below = [loss < -math.log(r) - math.log(1 - f) - ROUNDED for r, f, loss in sure]
    return NO_ENTROPY if sum(below) > len(below) / 10 else ""


FAMILIES = (
    Family(
        "r3gan",
        marks=("Loss/D/loss", "Loss/G/loss", "Loss/scores/real", "Loss/r2_penalty"),
        signals={
            **losses(same("Loss/D/loss"), same("Loss/G/loss")),
            "win_rate": wins("Loss/signs/real"),
            "gap": gap_of_difference("Loss/scores/real"),
            "augmentation": same("Progress/augment"),
            "frechet": same(*FIDS),
        },
        sources=("brownvc/R3GAN: training/loss.py (StyleGAN's names, of differences of a real and a generated logit)",),
        facts={"loss": "rpgan"},
        usual=("loss",),
        clock="kimg",
        positive=("Loss/G/loss", "Loss/D/loss"),
        remarks=("the loss is taken to be the relativistic one, as Loss/r2_penalty is logged; say --loss if not",),
    ),
    Family(
        "stylegan",
        marks=("Loss/D/loss", "Loss/G/loss", "Loss/scores/real"),
        signals={
            **losses(same("Loss/D/loss"), same("Loss/G/loss"), _alone),
            "sign_real": same("Loss/signs/real"),
            "gap": gap("Loss/scores/real", "Loss/scores/fake"),
            "augmentation": same("Progress/augment"),
            "frechet": same(*FIDS),
        },
        sources=(
            "NVlabs/stylegan2-ada-pytorch: training/loss.py (names), training/training_loop.py (stats.jsonl, events)",
            "NVlabs/stylegan2-ada-pytorch: torch_utils/training_stats.py (num, mean, std)",
            "NVlabs/stylegan2-ada-pytorch: metrics/metric_main.py (metric-*.jsonl)",
            "NVlabs/stylegan3: training/loss.py, train.py (loss_kwargs in training_options.json)",
            "autonomousvision/projected-gan: training/loss.py (hinge, under the same names)",
        ),
        facts={"loss": "non-saturating"},
        usual=("loss",),
        clock="kimg",
        positive=("Loss/G/loss", "Loss/D/loss"),
        remarks=("the loss is taken to be the non-saturating one, which StyleGAN2 and 3 have; say --loss if not",),
    ),
    Family(
        "rosinality",
        marks=("Generator", "Discriminator", "Real Score", "Fake Score", "Mean Path Length"),
        signals={
            **losses(same("Discriminator"), same("Generator")),
            "sign_real": varying(same("Rt")),
            "augmentation": same("Augment"),
        },
        sources=("rosinality/stylegan2-pytorch: train.py (wandb.log; Rt is 0 unless the augmentation adapts)",),
        facts={"loss": "non-saturating"},
        positive=("Generator", "Discriminator"),
        remarks=(SPREADLESS.format("Real Score and Fake Score", "logits"),),
    ),
    Family(
        "dcgan",
        marks=("Loss_D", "Loss_G", "D(x)", "D(G(z))"),
        signals=losses(same("Loss_D"), same("Loss_G")),
        sources=("pytorch/examples: dcgan/main.py (the line that it prints, which many have taken over)",),
        facts={"loss": "non-saturating"},
        usual=("loss",),
        refuted=_no_entropy,
        remarks=(
            "the loss is taken to be the cross-entropy of real and generated samples added up; say --loss if not",
            SPREADLESS.format("D(x) and D(G(z))", "probabilities"),
        ),
    ),
    Family(
        "studiogan",
        marks=("gen_loss", "dis_loss"),
        signals={
            **losses(same("dis_loss"), same("gen_loss")),
            "sign_real": same("dis_sign_real"),
            "augmentation": same("aa_p"),
            "frechet": same("FID score"),
        },
        sources=("POSTECH-CVLab/PyTorch-StudioGAN: src/worker.py (log_train_statistics, evaluate)",),
        remarks=STUDIOGAN,
    ),
    Family(
        "studiogan-text",
        marks=("Gen_loss", "Dis_loss"),
        signals={
            **losses(same("Dis_loss"), same("Gen_loss")),
            "augmentation": same("aa_p"),
            "frechet": same("moments"),  # "FID score (Step: 2000, Using train moments): 40.1"
        },
        sources=("POSTECH-CVLab/PyTorch-StudioGAN: src/worker.py (LOG_FORMAT, evaluate: the text log)",),
        remarks=STUDIOGAN,
    ),
    Family(
        "studiogan-2020",
        marks=("Losses_discriminator/Losses", "Losses_generator/Losses"),
        signals={
            **losses(same("Losses_discriminator/Losses"), same("Losses_generator/Losses")),
            "augmentation": same("ada_p"),
        },
        sources=("POSTECH-CVLab/PyTorch-StudioGAN: src/train_eval.py (add_scalars, a folder for each)",),
        remarks=STUDIOGAN,
    ),
    Family(
        "mimicry",
        marks=("errD/loss", "errG/loss"),
        signals=losses(same("errD/loss"), same("errG/loss")),
        sources=(
            "kwotsin/mimicry: torch_mimicry/training/logger.py (a folder for each, named by its group)",
            "kwotsin/mimicry: torch_mimicry/nets/gan/gan.py (names), torch_mimicry/nets/modules/losses.py (losses)",
        ),
        remarks=(SPREADLESS.format("D(x) and D(G(z))", "probabilities"),),
    ),
    *TOKENIZERS,
    *TRANSLATION,
    *SPEECH,
)
