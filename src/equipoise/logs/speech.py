"""Whose logs are read: programs that make speech. G is held by the spectrum; several discriminators are added up."""

from __future__ import annotations

from equipoise.logs.convert import Logged, added, judges, losses, over, over_first, over_ideal, same
from equipoise.logs.family import Family
from equipoise.logs.tables import Series


def _heads(log: Logged) -> float:
    """How many discriminators were added up, each with a loss of its own name."""
    return float(len(log.numbered("loss/d_r/")))


def _coqui_heads(log: Logged) -> float:
    """The same of coqui's VITS, which logs each discriminator's loss of real samples; 0 where it does not."""
    return float(len(log.numbered("TrainIterStats/loss_disc_real_")))


def _counted(log: Logged) -> Series:
    """The discriminators' total, where it is told how many there are."""
    return log.series("loss/d/total") if _heads(log) else []


def _adversarial(log: Logged) -> Series:
    return added(*log.numbered("loss/g/"))(log) if log.numbered("loss/g/") else []


def _adversaries(log: Logged) -> float:
    """How many adversaries d_loss adds up, each with a loss of its own name."""
    return float(len([name for name in log.names("train/d_") if name != "train/d_loss"]))


def _beside_the_rest(log: Logged) -> Series:
    """The adversarial losses' gradient beside that of the losses which D has no part in."""
    told = log.names("train/ratio_")
    theirs = [name for name in told if name.startswith("train/ratio_adv_")]
    rest = [name for name in told if not name.startswith(("train/ratio_adv_", "train/ratio_feat_"))]
    return over(added(*theirs), added(*rest))(log) if theirs and rest else []


SQUARES = {"loss": "least-squares", "anchored": True}  # what is true of most
SPEECH = (
    Family(
        "rvc",
        marks=("loss_disc", "loss_gen", "loss_mel"),
        signals={"reconstruction": over_first(same("loss_mel"))},
        sources=("RVC-Project/Retrieval-based-Voice-Conversion-WebUI: infer/modules/train/train.py (train.log)",),
        facts=SQUARES,
        bare=True,
        remarks=("train.log does not say how many discriminators loss_disc adds up; the event files beside it do",),
    ),
    Family(
        "coqui",
        marks=("TrainIterStats/loss_disc", "TrainIterStats/loss_gen", "TrainIterStats/loss_mel"),
        signals={
            **losses(
                same("TrainIterStats/loss_disc"), same("TrainIterStats/loss_gen"), factor=_coqui_heads, halved=False
            ),
            "reconstruction": over_first(same("TrainIterStats/loss_mel")),
        },
        sources=(
            "coqui-ai/TTS: TTS/tts/layers/losses.py (VITS: names, least squares, added over the discriminators)",
            "coqui-ai/Trainer: trainer/logging/tensorboard_logger.py (TrainIterStats)",
        ),
        facts=SQUARES,
        remarks=("disc_loss_alpha and gen_loss_alpha are taken to be 1, the default there",),
    ),
    Family(
        "vits",
        marks=("loss/d/total", "loss/g/total", "loss/g/mel"),
        signals={
            **losses(_counted, _adversarial, factor=_heads, halved=False),
            "gradient_D": same("grad_norm_d"),
            "gradient_G": same("grad_norm_g"),
            "reconstruction": over_first(same("loss/g/mel")),
        },
        sources=(
            "jaywalnut310/vits: train.py (names), losses.py (least squares, added over the discriminators)",
            "RVC-Project/Retrieval-based-Voice-Conversion-WebUI: infer/modules/train/train.py (RVC)",
            "svc-develop-team/so-vits-svc: train.py (without the discriminators one by one)",
        ),
        facts=SQUARES,
        missing={"loss_D": "how many discriminators loss/d/total adds up is not told without loss/d_r/0, 1, ..."},
    ),
    Family(
        "bigvgan",
        marks=("training/disc_loss_mpd", "training/disc_loss_mrd", "training/mel_spec_error"),
        signals={
            **judges(
                mpd=over_ideal("D", same("training/disc_loss_mpd"), factor=5.0, halved=False),
                mrd=over_ideal("D", same("training/disc_loss_mrd"), factor=3.0, halved=False),
            ),
            "gradient_G": same("training/grad_norm_g"),
            "mpd/gradient_D": same("training/grad_norm_mpd"),
            "mrd/gradient_D": same("training/grad_norm_mrd"),
            "reconstruction": over_first(same("training/mel_spec_error")),
        },
        sources=(
            "NVIDIA/BigVGAN: train.py (names), loss.py (least squares, added over the discriminators)",
            "NVIDIA/BigVGAN: configs/bigvgan_v2_44khz_128band_512x.json (mpd_reshapes, resolutions)",
        ),
        facts=SQUARES,
        remarks=("five periods and three resolutions are taken to be judged, as in the configurations there",),
    ),
    Family(
        "hifi-gan",
        marks=("training/gen_loss_total", "training/mel_spec_error"),
        signals={"reconstruction": over_first(same("training/mel_spec_error"))},
        sources=("jik876/hifi-gan: train.py",),
        facts=SQUARES,
        remarks=("gen_loss_total adds everything up and the discriminators are not logged: of them nothing is told",),
    ),
    Family(
        "vocos",
        marks=("discriminator/multi_period_loss", "discriminator/multi_res_loss", "generator/mel_loss"),
        signals={
            **judges(
                mpd=over_ideal("D", same("discriminator/multi_period_loss")),
                mrd=over_ideal("D", same("discriminator/multi_res_loss")),
            ),
            "reconstruction": over_first(same("generator/mel_loss")),
        },
        sources=("gemelo-ai/vocos: vocos/experiment.py (names; means over the discriminators), vocos/loss.py (hinge)",),
        facts={"loss": "hinge", "anchored": True},
    ),
    Family(
        "dac",
        marks=("adv/disc_loss/train", "adv/gen_loss/train", "mel/loss/train"),
        signals={
            **losses(same("adv/disc_loss/train"), same("adv/gen_loss/train"), factor=8.0, halved=False),
            "gradient_D": same("other/grad_norm_d/train"),
            "gradient_G": same("other/grad_norm/train"),
            "reconstruction": over_first(same("mel/loss/train")),
        },
        sources=(
            "descriptinc/descript-audio-codec: scripts/train.py (names), dac/nn/loss.py (least squares, added up)",
            "descriptinc/descript-audio-codec: dac/model/discriminator.py (five periods, three resolutions)",
            "descriptinc/audiotools: audiotools/ml/decorators.py (the stage behind the name)",
        ),
        facts=SQUARES,
        remarks=("eight discriminators are taken to be added up, as by default there",),
    ),
    Family(
        "audiocraft",
        marks=("train/d_loss", "train/g_loss", "train/adv", "train/feat"),
        signals={
            "loss_D": over_ideal("D", same("train/d_loss"), factor=_adversaries),
            "pull": _beside_the_rest,
            "gradient_G": same("train/ratio2"),
            "reconstruction": over_first(same("train/msspec", "train/mel", "train/l1")),
        },
        sources=(
            "facebookresearch/audiocraft: audiocraft/solvers/compression.py (names)",
            "facebookresearch/audiocraft: audiocraft/adversarial/losses.py (means over the sub-discriminators)",
            "facebookresearch/audiocraft: audiocraft/losses/balancer.py (ratio_: shares of the gradient, unweighted)",
            "facebookresearch/flashy: flashy/solver.py (history.json, an entry for each epoch; events by epoch)",
        ),
        facts={"loss": "hinge", "anchored": True, "adaptive": True},
        usual=("loss",),
        clock="epoch",
        remarks=(
            "the loss is taken to be the hinge, as in EnCodec's configuration; say --loss least-squares for mse",
            "pull is read from ratio_adv_...: the adversarial gradient at G's output beside that of the "
            "reconstruction, before the balancer weighs them",
        ),
    ),
)
