"""Whose logs are read: programs that make speech. G is held by the spectrum; several discriminators are added up."""

from __future__ import annotations

from equipoise.logs.convert import Logged, added, over_first, over_ideal, same
from equipoise.logs.family import Family


def _heads(log: Logged) -> float:
    """How many discriminators were added up, each with a loss of its own name."""
    return float(len(log.numbered("loss/d_r/")))


def _coqui_heads(log: Logged) -> float:
    """The same of coqui's VITS, which logs each discriminator's loss of real samples; 0 where it does not."""
    return float(len(log.numbered("TrainIterStats/loss_disc_real_")))


def _counted(log: Logged) -> list[tuple[float, float]]:
    """The discriminators' total, where it is told how many there are."""
    return log.series("loss/d/total") if _heads(log) else []


def _adversarial(log: Logged) -> list[tuple[float, float]]:
    return added(*log.numbered("loss/g/"))(log) if log.numbered("loss/g/") else []


SPEECH = (
    Family(
        "rvc",
        marks=("loss_disc", "loss_gen", "loss_mel"),
        signals={"reconstruction": over_first(same("loss_mel"))},
        sources=("RVC-Project/Retrieval-based-Voice-Conversion-WebUI: infer/modules/train/train.py (train.log)",),
        facts={"loss": "least-squares", "anchored": True},
        bare=True,
        remarks=("train.log does not say how many discriminators loss_disc adds up; the event files beside it do",),
    ),
    Family(
        "coqui",
        marks=("TrainIterStats/loss_disc", "TrainIterStats/loss_gen", "TrainIterStats/loss_mel"),
        signals={
            "loss_D": over_ideal(
                "D", same("TrainIterStats/loss_disc"), unhalved=("least-squares",), factor=_coqui_heads
            ),
            "loss_G": over_ideal(
                "G", same("TrainIterStats/loss_gen"), unhalved=("least-squares",), factor=_coqui_heads
            ),
            "reconstruction": over_first(same("TrainIterStats/loss_mel")),
        },
        sources=(
            "coqui-ai/TTS: TTS/tts/layers/losses.py (VITS: names, least squares, added over the discriminators)",
            "coqui-ai/Trainer: trainer/logging/tensorboard_logger.py (TrainIterStats)",
        ),
        facts={"loss": "least-squares", "anchored": True},
        remarks=("disc_loss_alpha and gen_loss_alpha are taken to be 1, the default there",),
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
