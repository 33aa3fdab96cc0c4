"""Exchange with other libraries: configurations of aihwkit and CrossSim, and weights in ONNX.

The tables in ``aihwkit_fields``, ``aihwkit_noise``, ``aihwkit_converters`` and ``crosssim_fields``
list every field of both libraries with its default, and the key of a profile that it sets or the
consequence of having none. A field that is in no table is reported, never dropped.
"""

from cimsim.exchange.aihwkit_reader import from_aihwkit
from cimsim.exchange.aihwkit_writer import to_aihwkit
from cimsim.exchange.crosssim_reader import from_crosssim
from cimsim.exchange.crosssim_writer import to_crosssim
from cimsim.exchange.notes import Imported, Note
from cimsim.exchange.onnx_weights import load_onnx_weights
from cimsim.exchange.origin import import_profile
from cimsim.exchange.source import plain

__all__ = [
    "Imported",
    "Note",
    "from_aihwkit",
    "from_crosssim",
    "import_profile",
    "load_onnx_weights",
    "plain",
    "to_aihwkit",
    "to_crosssim",
]
