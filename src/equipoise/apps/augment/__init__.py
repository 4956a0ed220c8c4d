"""Synthetic images for a small labelled set, and an honest test of whether they helped."""

from equipoise.apps.augment.flow import Asked as Asked
from equipoise.apps.augment.flow import augment as augment
from equipoise.apps.augment.verdict import Verdict as Verdict
