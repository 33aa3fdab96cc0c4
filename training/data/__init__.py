"""Data sets in memory, and batches of them."""

from cimsim.training.data.batches import BatchLoader
from cimsim.training.data.catalog import DATASETS, load_data
from cimsim.training.data.dataset import DataSet

__all__ = ["DATASETS", "BatchLoader", "DataSet", "load_data"]
