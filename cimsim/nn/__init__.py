"""Analog layers, and what is done to a whole model: convert, calibrate, program, age."""

from cimsim.nn.conv import AnalogConv2d
from cimsim.nn.convert import convert
from cimsim.nn.denoiser import ColumnDenoiser
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.linear import AnalogLinear
from cimsim.nn.modes import evaluating
from cimsim.nn.verbs import (
    age,
    analog_layers,
    calibrate,
    denoise,
    digital,
    perturbed,
    program,
    set_profile,
)

__all__ = [
    "AnalogConv2d",
    "AnalogLayer",
    "AnalogLinear",
    "ColumnDenoiser",
    "age",
    "analog_layers",
    "calibrate",
    "convert",
    "denoise",
    "digital",
    "evaluating",
    "perturbed",
    "program",
    "set_profile",
]
