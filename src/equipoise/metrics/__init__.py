"""Metrics: distances and coverage as functions of two feature matrices, feature networks, mixtures, a classifier."""

from equipoise.metrics._matrices import finite_rows as finite_rows
from equipoise.metrics.classifier import Classifier as Classifier
from equipoise.metrics.classifier import fit_classifier as fit_classifier
from equipoise.metrics.coverage import PRDC as PRDC
from equipoise.metrics.coverage import harmonic_mean as harmonic_mean
from equipoise.metrics.coverage import prdc as prdc
from equipoise.metrics.coverage import vendi as vendi
from equipoise.metrics.distances import energy as energy
from equipoise.metrics.distances import frechet as frechet
from equipoise.metrics.distances import frechet_from_moments as frechet_from_moments
from equipoise.metrics.distances import kernel as kernel
from equipoise.metrics.features import extract as extract
from equipoise.metrics.intervals import Measure as Measure
from equipoise.metrics.measures import measure as measure
from equipoise.metrics.memorisation import Memorisation as Memorisation
from equipoise.metrics.memorisation import memorised as memorised
from equipoise.metrics.mixtures import Modes as Modes
from equipoise.metrics.mixtures import modes as modes
from equipoise.metrics.mixtures import reverse_kl as reverse_kl
