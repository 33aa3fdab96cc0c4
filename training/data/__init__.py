"""Data sets in memory, and batches of them."""

from cimsim.training.data.batches import BatchLoader
from cimsim.training.data.catalog import DATASETS, has_folder, load_data
from cimsim.training.data.dataset import HELD_OUT, TEST, DataSet, Split

__all__ = [
    "DATASETS",
    "HELD_OUT",
    "TEST",
    "BatchLoader",
    "DataSet",
    "Split",
    "has_folder",
    "load_data",
]
