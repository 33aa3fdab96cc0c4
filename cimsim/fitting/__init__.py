"""Fitting of a profile to measurements: read a table, estimate, build."""

from cimsim.fitting.bad_cells import Stuck
from cimsim.fitting.device import build_profile
from cimsim.fitting.estimates import Change, DeviceFit, Estimate, fit_device
from cimsim.fitting.measurements import Measurements
from cimsim.fitting.outliers import LeftOut
from cimsim.fitting.reading import Reading, assignments
from cimsim.fitting.table import read_measurements

__all__ = [
    "Change",
    "DeviceFit",
    "Estimate",
    "LeftOut",
    "Measurements",
    "Reading",
    "Stuck",
    "assignments",
    "build_profile",
    "fit_device",
    "read_measurements",
]
