"""Studies: settings against each other over seeds, run side by side and judged with intervals."""

from equipoise.studies.engine import compare as compare
from equipoise.studies.scores import Scores as Scores
from equipoise.studies.scores import score as score
from equipoise.studies.study import Study as Study
