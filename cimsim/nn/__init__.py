"""Analog layers, and operations on whole models: convert, calibrate, program, age."""

from cimsim.nn.assignment import Assignment
from cimsim.nn.attention import UnpackedAttention
from cimsim.nn.conv import (
    AnalogConv1d,
    AnalogConv2d,
    AnalogConv3d,
    AnalogConvTranspose1d,
    AnalogConvTranspose2d,
    AnalogConvTranspose3d,
)
from cimsim.nn.convert import convert, to_digital
from cimsim.nn.denoiser import ColumnDenoiser
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.linear import AnalogLinear
from cimsim.nn.model_ops import (
    age,
    analog_layers,
    batch_norms,
    calibrate,
    denoise,
    digital,
    matrices,
    perturbed,
    profiles,
    program,
    recalibrate,
    reestimate,
    set_profile,
    use_chip,
)
from cimsim.nn.modes import evaluating
from cimsim.nn.parameter_groups import parameter_groups
from cimsim.nn.recurrent import UnpackedGRU, UnpackedLSTM, UnpackedRNN
from cimsim.nn.saving import load, save
from cimsim.nn.signals import Signals, measure_signals
from cimsim.nn.summary import LayerSummary, Summary, summary

__all__ = [
    "AnalogConv1d",
    "AnalogConv2d",
    "AnalogConv3d",
    "AnalogConvTranspose1d",
    "AnalogConvTranspose2d",
    "AnalogConvTranspose3d",
    "AnalogLayer",
    "AnalogLinear",
    "Assignment",
    "ColumnDenoiser",
    "LayerSummary",
    "Signals",
    "Summary",
    "UnpackedAttention",
    "UnpackedGRU",
    "UnpackedLSTM",
    "UnpackedRNN",
    "age",
    "analog_layers",
    "batch_norms",
    "calibrate",
    "convert",
    "denoise",
    "digital",
    "evaluating",
    "load",
    "matrices",
    "measure_signals",
    "parameter_groups",
    "perturbed",
    "profiles",
    "program",
    "recalibrate",
    "reestimate",
    "save",
    "set_profile",
    "summary",
    "to_digital",
    "use_chip",
]
