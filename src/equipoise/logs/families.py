"""Whose logs are read: which names a family of programs writes, where that is done, and what signals they tell.

Only what converts honestly is converted. Mean logits without their spread tell no distance, a mean probability tells
nothing of a hinge, and a loss is put in relation only where it is known which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.logs.convert import Convert, Logged, added, gap, inverse, over_first, over_ideal, same, where


@dataclass(frozen=True)
class Family:
    """Programs that log under the same names."""

    name: str
    marks: tuple[str, ...]  # names that are found together in no other family's logs
    signals: Mapping[str, Convert]
    sources: tuple[str, ...]  # the files that write these names, repository first
    facts: Mapping[str, Any] = field(default_factory=dict)  # what is true of all its runs, or usual
    usual: tuple[str, ...] = ()  # facts that the user's options may correct
    clock: str = "step"  # what the steps of its event files are
    remarks: tuple[str, ...] = ()  # what its numbers leave open


def _heads(log: Logged) -> float:
    """How many discriminators were added up, each with a loss of its own name."""
    return float(len(log.numbered("loss/d_r/")))


def _counted(log: Logged) -> list[tuple[float, float]]:
    """The discriminators' total, where it is told how many there are."""
    return log.series("loss/d/total") if _heads(log) else []


def _adversarial(log: Logged) -> list[tuple[float, float]]:
    return added(*log.numbered("loss/g/"))(log) if log.numbered("loss/g/") else []


FAMILIES = (
    Family(
        "stylegan",
        marks=("Loss/D/loss", "Loss/G/loss", "Loss/scores/real"),
        signals={
            "loss_D": over_ideal("D", same("Loss/D/loss")),
            "loss_G": over_ideal("G", same("Loss/G/loss")),
            "sign_real": same("Loss/signs/real"),
            "gap": gap("Loss/scores/real", "Loss/scores/fake"),
            "augmentation": same("Progress/augment"),
            "frechet": same("Metrics/fid50k_full", "Metrics/fid50k"),
        },
        sources=(
            "NVlabs/stylegan2-ada-pytorch: training/loss.py (names), training/training_loop.py (stats.jsonl, events)",
            "NVlabs/stylegan2-ada-pytorch: torch_utils/training_stats.py (num, mean, std)",
            "NVlabs/stylegan2-ada-pytorch: metrics/metric_main.py (metric-*.jsonl)",
            "NVlabs/stylegan3: training/loss.py",
        ),
        facts={"loss": "non-saturating"},
        usual=("loss",),
        clock="kimg",
        remarks=("the loss is taken to be the non-saturating one, which StyleGAN2 and 3 have; say --loss if not",),
    ),
    Family(
        "studiogan",
        marks=("gen_loss", "dis_loss"),
        signals={
            "loss_D": over_ideal("D", same("dis_loss")),
            "loss_G": over_ideal("G", same("gen_loss")),
            "sign_real": same("dis_sign_real"),
            "augmentation": same("aa_p"),
            "frechet": same("FID score"),
        },
        sources=("POSTECH-CVLab/PyTorch-StudioGAN: src/worker.py (log_train_statistics, evaluate)",),
        remarks=("dis_loss and gen_loss have class terms and penalties in them, so the losses read too high",),
    ),
    Family(
        "studiogan-2020",
        marks=("Losses_discriminator/Losses", "Losses_generator/Losses"),
        signals={
            "loss_D": over_ideal("D", same("Losses_discriminator/Losses")),
            "loss_G": over_ideal("G", same("Losses_generator/Losses")),
            "augmentation": same("ada_p"),
        },
        sources=("POSTECH-CVLab/PyTorch-StudioGAN: src/train_eval.py (add_scalars, a folder for each)",),
        remarks=("the losses have class terms and penalties in them, so they read too high",),
    ),
    Family(
        "mimicry",
        marks=("errD/loss", "errG/loss"),
        signals={
            "loss_D": over_ideal("D", same("errD/loss")),
            "loss_G": over_ideal("G", same("errG/loss")),
        },
        sources=(
            "kwotsin/mimicry: torch_mimicry/training/logger.py (a folder for each, named by its group)",
            "kwotsin/mimicry: torch_mimicry/nets/gan/gan.py (names), torch_mimicry/nets/modules/losses.py (losses)",
        ),
        remarks=("D(x) and D(G(z)) are mean probabilities without their spread: no distance follows from them",),
    ),
    Family(
        "taming",
        marks=("train/disc_loss", "train/g_loss", "train/rec_loss"),
        signals={
            "loss_D": where(
                "train/disc_factor",
                # half of the sum over reals and fakes, where ours is the sum
                over_ideal("D", same("train/disc_loss"), factor=lambda log: 0.5),
            ),
            "pull": where("train/disc_factor", inverse(same("train/d_weight"))),
            "reconstruction": over_first(where("train/disc_factor", same("train/rec_loss"))),
        },
        sources=(
            "CompVis/taming-transformers: taming/modules/losses/vqperceptual.py (names, losses)",
            "CompVis/taming-transformers: taming/models/vqgan.py (Lightning's log_dict, by step and epoch)",
            "CompVis/stable-diffusion: ldm/modules/losses/contperceptual.py (latent diffusion's, the same names)",
        ),
        facts={"loss": "hinge", "anchored": True},
        usual=("loss",),
        remarks=(
            "the loss is taken to be the hinge, the default there; say --loss non-saturating for disc_loss=vanilla",
            "pull is read from d_weight: the adversarial gradient at G's last layer beside that of the reconstruction",
        ),
    ),
    Family(
        "basicsr",
        marks=("l_d_real", "l_d_fake", "l_g_gan"),
        signals={
            "loss_D": over_ideal("D", added("l_d_real", "l_d_fake"), unhalved=("least-squares",)),
            "reconstruction": over_first(same("l_g_pix", "l_g_percep", "l_g_fea")),
        },
        sources=(
            "XPixelGroup/BasicSR: basicsr/models/srgan_model.py, esrgan_model.py (names)",
            "XPixelGroup/BasicSR: basicsr/utils/logger.py (losses/ before names with l_)",
            "XPixelGroup/BasicSR: basicsr/losses/gan_loss.py (losses)",
        ),
        facts={"anchored": True},
        remarks=(
            "out_d_real and out_d_fake are mean logits without their spread: no distance follows from them",
            "with --loss relativistic-average (ESRGAN), logs of 2020 and before read twice too high: l_d_real and "
            "l_d_fake are not halved there",
        ),
    ),
    Family(
        "cyclegan",
        marks=("D_A", "D_B", "cycle_A", "cycle_B"),
        signals={
            # each is half of the sum over reals and fakes; two of them are the sum of one
            "loss_D": over_ideal("D", added("D_A", "D_B"), unhalved=("least-squares",)),
            "A/loss_D": over_ideal("D", same("D_A"), unhalved=("least-squares",), factor=lambda log: 0.5),
            "B/loss_D": over_ideal("D", same("D_B"), unhalved=("least-squares",), factor=lambda log: 0.5),
            "loss_G": over_ideal("G", added("G_A", "G_B"), unhalved=("least-squares",), factor=lambda log: 2.0),
            "reconstruction": over_first(added("cycle_A", "cycle_B")),
        },
        sources=(
            "junyanz/pytorch-CycleGAN-and-pix2pix: models/cycle_gan_model.py (names, losses)",
            "junyanz/pytorch-CycleGAN-and-pix2pix: util/visualizer.py (loss_log.txt)",
        ),
        facts={"loss": "least-squares"},
        usual=("loss",),
        remarks=(
            "the loss is taken to be least squares, the default there; say --loss non-saturating for gan_mode=vanilla",
            "the cycle holds G to its input, not to the other domain: a discriminator far ahead counts here",
        ),
    ),
    Family(
        "pix2pix",
        marks=("G_GAN", "G_L1", "D_real", "D_fake"),
        signals={
            "loss_D": over_ideal("D", added("D_real", "D_fake"), unhalved=("least-squares",)),
            "loss_G": over_ideal("G", same("G_GAN"), unhalved=("least-squares",)),
            "reconstruction": over_first(same("G_L1")),
        },
        sources=("junyanz/pytorch-CycleGAN-and-pix2pix: models/pix2pix_model.py (names, losses)",),
        facts={"loss": "non-saturating", "anchored": True},
        usual=("loss",),
        remarks=(
            "the loss is taken to be the non-saturating one, the default there; say --loss if gan_mode differs",
            "L1 holds G, so that a discriminator far ahead is normal; its authors call losses of D below 0.01 too "
            "small, https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix/issues/1334",
        ),
    ),
    Family(
        "rvc",
        marks=("loss_disc", "loss_gen", "loss_mel"),
        signals={"reconstruction": over_first(same("loss_mel"))},
        sources=("RVC-Project/Retrieval-based-Voice-Conversion-WebUI: infer/modules/train/train.py (train.log)",),
        facts={"loss": "least-squares", "anchored": True},
        remarks=("train.log does not say how many discriminators loss_disc adds up; the event files beside it do",),
    ),
    Family(
        "vits",
        marks=("loss/d/total", "loss/g/total", "loss/g/mel"),
        signals={
            "loss_D": over_ideal("D", _counted, unhalved=("least-squares",), factor=_heads),
            "loss_G": over_ideal("G", _adversarial, unhalved=("least-squares",), factor=_heads),
            "gradient_D": same("grad_norm_d"),
            "gradient_G": same("grad_norm_g"),
            "reconstruction": over_first(same("loss/g/mel")),
        },
        sources=(
            "jaywalnut310/vits: train.py (names), losses.py (least squares, added over the discriminators)",
            "RVC-Project/Retrieval-based-Voice-Conversion-WebUI: infer/modules/train/train.py (RVC)",
            "svc-develop-team/so-vits-svc: train.py (without the discriminators one by one)",
        ),
        facts={"loss": "least-squares", "anchored": True},
        remarks=(
            "without loss/d_r/0, 1, ... (so-vits-svc) it is not told how many discriminators loss/d/total adds up",
        ),
    ),
    Family(
        "hifi-gan",
        marks=("training/gen_loss_total", "training/mel_spec_error"),
        signals={"reconstruction": over_first(same("training/mel_spec_error"))},
        sources=("jik876/hifi-gan: train.py",),
        facts={"loss": "least-squares", "anchored": True},
        remarks=("gen_loss_total adds everything up and the discriminators are not logged: of them nothing is told",),
    ),
)
