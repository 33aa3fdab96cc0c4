"""Cell physics on conductances in µS: programming noise, drift, read noise. One idea per file."""

from cimsim.devices.cells import aged_uS, programmed_uS, read_variance_uS2

__all__ = ["aged_uS", "programmed_uS", "read_variance_uS2"]
