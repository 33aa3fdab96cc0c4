"""Recovery of accuracy on one programmed chip: measured settings, adapters, and new placements.

Depends on layers only. A chip is the simulated one, or any function that multiplies
(:func:`cimsim.nn.use_chip`). The function :func:`cimsim.adapt` has the name of the command; this
package has another, because a package would hide a function of its name.
"""

from cimsim.adaptation.adapt import (
    PARTS,
    Adaptation,
    adapt,
    chosen_parts,
    possible_parts,
)
from cimsim.adaptation.part import Change, Cost, Part
from cimsim.adaptation.recipe import Recipe, split_parts

__all__ = [
    "PARTS",
    "Adaptation",
    "Change",
    "Cost",
    "Part",
    "Recipe",
    "adapt",
    "chosen_parts",
    "possible_parts",
    "split_parts",
]
