"""Whose logs are read: programs that train autoencoders for their codes. A reconstruction holds G."""

from __future__ import annotations

from equipoise.logs.convert import Convert, inverse, over, over_first, over_ideal, same, varying, where
from equipoise.logs.family import Family

HINGE = "the loss is taken to be the hinge, the default there; say --loss non-saturating for disc_loss=vanilla"
WEIGHED = (
    "pull is read from d_weight: the adversarial gradient at G's last layer beside that of the reconstruction, "
    "before d_weight makes up for it"
)


def _halved(raw: Convert) -> Convert:
    """D's loss over its ideal value, where half of the sum over reals and fakes is logged; ours is the sum."""
    return over_ideal("D", raw, factor=0.5)


def _lightning(name: str, reconstruction: str, sources: tuple[str, ...], remarks: tuple[str, ...]) -> Family:
    """The losses of taming-transformers, whose successors call the reconstruction by other names."""
    started = "train/disc_factor"
    return Family(
        name,
        marks=("train/disc_loss", "train/g_loss", reconstruction),
        signals={
            "loss_D": where(started, _halved(same("train/disc_loss"))),
            "pull": where(started, inverse(varying(same("train/d_weight")))),
            "reconstruction": over_first(where(started, same(reconstruction))),
        },
        sources=sources,
        facts={"loss": "hinge", "anchored": True, "adaptive": True},
        usual=("loss",),
        switch=started,
        remarks=(HINGE, *remarks),
    )


TOKENIZERS = (
    _lightning(
        "taming",
        "train/rec_loss",
        (
            "CompVis/taming-transformers: taming/modules/losses/vqperceptual.py (names, losses)",
            "CompVis/taming-transformers: taming/models/vqgan.py (Lightning's log_dict, by step and epoch)",
            "CompVis/stable-diffusion: ldm/modules/losses/contperceptual.py (latent diffusion's, the same names)",
        ),
        (WEIGHED,),
    ),
    _lightning(
        "seed-voken",
        "train/reconstruct_loss",
        (
            "TencentARC/SEED-Voken: OpenImageTokenizer/IBQ/modules/losses/vqperceptual.py (names, losses)",
            "TencentARC/SEED-Voken: OpenImageTokenizer/Open_MAGVIT2/models/lfqgan.py (log_dict)",
        ),
        (WEIGHED, "disc_loss has LeCam's penalty in it where that is on, so that it reads too high"),
    ),
    Family(
        "llamagen",
        marks=("discriminator_adv_loss", "generator_adv_loss", "rec_loss", "disc_weight"),
        signals={
            "loss_D": _halved(over(same("discriminator_adv_loss"), same("disc_weight"))),
            "pull": where("disc_weight", inverse(varying(same("disc_adaptive_weight")))),
            "reconstruction": over_first(where("disc_weight", same("rec_loss"))),
        },
        sources=(
            "FoundationVision/LlamaGen: tokenizer/tokenizer_image/vq_loss.py (names; D's loss times disc_weight)",
            "FoundationVision/LlamaGen: tokenizer/tokenizer_image/vq_train.py (log.txt, the step in a line of its own)",
        ),
        facts={"loss": "hinge", "anchored": True, "adaptive": True},
        usual=("loss",),
        switch="disc_weight",
        remarks=(HINGE,),
    ),
    Family(
        "titok",
        marks=("train/discriminator_factor", "train/reconstruction_loss", "train/gan_loss"),
        signals={
            "loss_D": _halved(over(same("train/discriminator_loss"), same("train/discriminator_factor"))),
            "reconstruction": over_first(where("train/discriminator_factor", same("train/reconstruction_loss"))),
        },
        sources=(
            "bytedance/1d-tokenizer: modeling/modules/losses.py (names, losses)",
            "bytedance/1d-tokenizer: utils/train_utils.py (train/ before them, through Accelerate's trackers)",
        ),
        facts={"loss": "hinge", "anchored": True},
        switch="train/discriminator_factor",
        remarks=("discriminator_loss has LeCam's penalty in it, so that it reads a little too high",),
    ),
    Family(
        "diffusers-vqgan",
        marks=("step_discr_loss", "step_gen_loss"),
        signals={"loss_D": over_ideal("D", same("step_discr_loss"))},
        sources=("huggingface/diffusers: examples/vqgan/train_vqgan.py (accelerator.log)",),
        facts={"loss": "hinge", "anchored": True},
        remarks=(
            "step_discr_loss has the gradient penalty in it, so that it reads too high",
            "step_gen_loss adds everything up, so that of the reconstruction nothing is told",
        ),
    ),
)
