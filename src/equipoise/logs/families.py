"""Whose logs are read: which names a family of programs writes, where that is done, and what signals they tell.

Only what converts honestly is converted. Mean logits without their spread tell no distance, a mean probability tells
nothing of a hinge, and a loss is put in relation only where it is known which one it is.
"""

from __future__ import annotations

from equipoise.logs.convert import added, gap, inverse, over_first, over_ideal, same, where
from equipoise.logs.family import Family
from equipoise.logs.speech import SPEECH

STUDIOGAN = (
    "the losses have class terms and penalties in them, so that they read too high; and of runs with acml_steps they "
    "are divided by that, so that they read too low",
)
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
        remarks=STUDIOGAN,
    ),
    Family(
        "studiogan-text",
        marks=("Gen_loss", "Dis_loss"),
        signals={
            "loss_D": over_ideal("D", same("Dis_loss")),
            "loss_G": over_ideal("G", same("Gen_loss")),
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
            "loss_D": over_ideal("D", same("Losses_discriminator/Losses")),
            "loss_G": over_ideal("G", same("Losses_generator/Losses")),
            "augmentation": same("ada_p"),
        },
        sources=("POSTECH-CVLab/PyTorch-StudioGAN: src/train_eval.py (add_scalars, a folder for each)",),
        remarks=STUDIOGAN,
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
        facts={"loss": "hinge", "anchored": True, "adaptive": True},
        usual=("loss",),
        switch="train/disc_factor",
        remarks=(
            "the loss is taken to be the hinge, the default there; say --loss non-saturating for disc_loss=vanilla",
            "pull is read from d_weight: the adversarial gradient at G's last layer beside that of the reconstruction, "
            "before d_weight makes up for it",
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
            "junyanz/pytorch-CycleGAN-and-pix2pix: options/base_options.py (gan_mode in train_opt.txt)",
        ),
        facts={"loss": "least-squares"},
        usual=("loss",),
        positive=("D_A", "D_B", "G_A", "G_B"),
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
        positive=("D_real", "D_fake", "G_GAN"),
        remarks=(
            "the loss is taken to be the non-saturating one, the default there; say --loss if gan_mode differs",
            "L1 holds G, so that a discriminator far ahead is normal; its authors call losses of D below 0.01 too "
            "small, https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix/issues/1334",
        ),
    ),
    *SPEECH,
)
