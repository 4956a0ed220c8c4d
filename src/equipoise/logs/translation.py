"""Whose logs are read: programs that turn an image into another, as super-resolution and translation do."""

from __future__ import annotations

from equipoise.logs.convert import added, losses, over_first, over_ideal, same
from equipoise.logs.family import SPREADLESS, Family

SCORES = (SPREADLESS.format("real_score and fake_score", "logits"),)
TRANSLATION = (
    Family(
        "basicsr",
        marks=("l_d_real", "l_d_fake", "l_g_gan"),
        signals={
            "loss_D": over_ideal("D", added("l_d_real", "l_d_fake"), halved=False),
            "reconstruction": over_first(same("l_g_pix", "l_g_percep", "l_g_fea")),
        },
        sources=(
            "XPixelGroup/BasicSR: basicsr/models/srgan_model.py, esrgan_model.py (names)",
            "XPixelGroup/BasicSR: basicsr/utils/logger.py (losses/ before names with l_)",
            "XPixelGroup/BasicSR: basicsr/losses/gan_loss.py (losses)",
            "XPixelGroup/BasicSR: basicsr/utils/options.py (dict2str: the options on top of the text log)",
        ),
        facts={"anchored": True},
        remarks=(
            SPREADLESS.format("out_d_real and out_d_fake", "logits"),
            "with --loss relativistic-average (ESRGAN), logs of 2020 and before read twice too high: l_d_real and "
            "l_d_fake are not halved there",
        ),
    ),
    Family(
        "gfpgan",
        marks=("l_d", "l_g_gan", "real_score", "fake_score"),
        signals={
            "loss_D": over_ideal("D", same("l_d")),
            "reconstruction": over_first(same("l_g_pix", "l_g_percep")),
        },
        sources=(
            "TencentARC/GFPGAN: gfpgan/models/gfpgan_model.py (names), options/train_gfpgan_v1.yml (wgan_softplus)",
        ),
        facts={"loss": "non-saturating", "anchored": True},
        remarks=SCORES,
    ),
    Family(
        "basicsr-stylegan2",
        marks=("l_d", "l_g", "real_score", "fake_score"),
        signals=losses(same("l_d"), same("l_g")),
        sources=("XPixelGroup/BasicSR: basicsr/models/stylegan2_model.py (names; its GANLoss is wgan_softplus)",),
        facts={"loss": "non-saturating"},
        remarks=SCORES,
    ),
    Family(
        "cyclegan",
        marks=("D_A", "D_B", "cycle_A", "cycle_B"),
        signals={
            # each is half of the sum over reals and fakes; two of them are the sum of one
            "loss_D": over_ideal("D", added("D_A", "D_B"), halved=False),
            "A/loss_D": over_ideal("D", same("D_A"), 0.5, halved=False),
            "B/loss_D": over_ideal("D", same("D_B"), 0.5, halved=False),
            "loss_G": over_ideal("G", added("G_A", "G_B"), 2.0, halved=False),
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
            **losses(added("D_real", "D_fake"), same("G_GAN"), halved=False),
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
)
