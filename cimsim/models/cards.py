"""Cards: what a trained network is, how it was trained, and how well it performs on chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cimsim.errors import CimsimError
from cimsim.training.manifest import read_checked
from cimsim.training.trained_networks import CARD, folder_of
from cimsim.training.trained_networks import names as names  # for cimsim.models


class ChipScore(BaseModel):
    """The test accuracy of a network on chips of one age.

    Attributes:
        age_s: age of the chips in seconds.
        chips: number of chips, with the seeds 0, 1, …
        mean: mean over the chips (0 to 1).
        standard_error: standard error of the mean.
        worst: accuracy on the worst chip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    age_s: float
    chips: int
    mean: float
    standard_error: float
    worst: float


class Card(BaseModel):
    """The description of a trained network.

    Attributes:
        name: name for :func:`cimsim.models.load` and ``cimsim train --start``.
        model: name of the architecture, as for ``cimsim train --model``.
        input_shape: shape of one input.
        classes: number of outputs.
        parameters: number of trained parameters.
        data: name of the data set that it was trained on.
        license: license of that data set.
        profile: name of the profile that it was trained for; the file ``profile.yaml`` next to the
            card contains it.
        settings: settings of the training that differ from the defaults.
        command: command that trains it.
        digital: test accuracy (0 to 1) without the chip.
        on_chips: test accuracy on chips.
        trained: day of the training.
        versions: versions of cimsim, Python and the packages used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    model: str
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    data: str
    license: str
    profile: str
    settings: dict[str, Any]
    command: str
    digital: float
    on_chips: tuple[ChipScore, ...]
    trained: str
    versions: dict[str, str]


def card(name: str) -> Card:
    """Return the card of the trained network ``name``.

    Raises:
        CimsimError: if there is no network of that name, or its card is damaged.

    >>> card("digits-mlp").profile
    'pcm-ibm-2020'
    """
    return read_card(folder_of(name) / CARD)


def read_card(path: Path) -> Card:
    """Read a card and verify its hash.

    Raises:
        CimsimError: if it cannot be read or is damaged.
    """
    content = read_checked(path)
    try:
        return Card.model_validate_json(content)
    except ValidationError:
        raise CimsimError(
            f"{path} is not a card of a trained network; install cimsim again"
        ) from None
