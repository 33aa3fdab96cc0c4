"""From one's own measurements to a device profile: read a table, estimate, build."""

from cimsim.fitting.device import build_profile
from cimsim.fitting.estimates import DeviceFit, Estimate, fit_device
from cimsim.fitting.measurements import Measurements, read_measurements

__all__ = [
    "DeviceFit",
    "Estimate",
    "Measurements",
    "build_profile",
    "fit_device",
    "read_measurements",
]
