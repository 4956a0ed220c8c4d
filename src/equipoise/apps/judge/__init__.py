"""The discriminator's opinion on given images, on a scale of real images that it was not trained on."""

from equipoise.apps.judge.opinion import Opinion as Opinion
from equipoise.apps.judge.witnesses import Witnesses as Witnesses
from equipoise.apps.judge.witnesses import gather as gather
