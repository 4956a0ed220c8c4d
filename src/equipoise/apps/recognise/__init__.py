"""The discriminator as a recogniser: what its features are worth where only few images have labels."""

from equipoise.apps.recognise.arms import ARMS as ARMS
from equipoise.apps.recognise.comparison import Comparison as Comparison
from equipoise.apps.recognise.comparison import compare as compare
