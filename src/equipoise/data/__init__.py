"""Sources of data, the report on them, the uint8 cache, the held-out split and endless batches."""

from equipoise.data.arrays import from_arrays as from_arrays
from equipoise.data.batches import Batches as Batches
from equipoise.data.cache import cache_clear as cache_clear
from equipoise.data.cache import cache_list as cache_list
from equipoise.data.dataset import Dataset as Dataset
from equipoise.data.holdout import Holdout as Holdout
from equipoise.data.report import Report as Report
from equipoise.data.sources import open_dataset as open_dataset
