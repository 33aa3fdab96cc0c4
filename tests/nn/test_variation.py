"""Variation by place, as a layer's outputs show it: correlation functions against their kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import CimsimError
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import Profile, override_profile
from tests.building import device

ROWS, COLUMNS = 48, 32  # of a tile
TILES, BLOCKS = 2, 3  # tiles along the inputs and along the outputs
CHIPS = 30
G_MIN_uS, G_MAX_uS = 5.0, 25.0
SMOOTH = {"kind": "correlated", "sigma_of_g": 0.02, "length_in_rows": 6.0, "length_in_columns": 3.0}


def layer(profile: Profile) -> nn.Linear:
    """All weights alike, so that every carrying cell of a pair lies at ``g_max``."""
    digital = nn.Linear(TILES * ROWS, BLOCKS * COLUMNS, bias=False)
    nn.init.ones_(digital.weight)
    eye = torch.eye(TILES * ROWS)
    model = cimsim.calibrate(cimsim.convert(digital, profile), [eye]).eval()
    assert isinstance(model, nn.Linear)
    return model


def on_tiles(variation: dict[str, Any]) -> Profile:
    return device(
        variation=[variation], rows=ROWS, columns=COLUMNS, g_min_uS=G_MIN_uS, g_max_uS=G_MAX_uS
    )


def errors(variation: dict[str, Any], cycle: int = 0, chips: int = CHIPS) -> Tensor:
    """Relative errors of the weights, ``[chips, tiles, blocks, columns, rows]``."""
    model, found = layer(on_tiles(variation)), []
    for chip in range(chips):
        cimsim.program(model, chip, cycle)
        with torch.no_grad():
            weights = model(torch.eye(TILES * ROWS)).double().T  # [columns, rows] of all tiles
        found.append(weights.view(BLOCKS, COLUMNS, TILES, ROWS).permute(2, 0, 1, 3) - 1)
    return torch.stack(found)


def at_lag(field: Tensor, rows: int, columns: int) -> tuple[float, float]:
    """Mean product of cells that lie so far apart, and its standard error from chip to chip."""
    one = field[..., : COLUMNS - columns, : ROWS - rows]
    other = field[..., columns:, rows:]
    by_chip = (one * other).mean((1, 2, 3, 4))
    return by_chip.mean().item(), by_chip.std().item() / math.sqrt(len(by_chip))


@pytest.mark.parametrize("kernel", ["exponential", "gaussian"])
@pytest.mark.parametrize("pair", ["apart", "adjacent"])
def test_errors_correlate_over_a_tile_as_the_kernel_says(kernel: str, pair: str) -> None:
    """``w = (g+ - g-) / span``: of a pair side by side the errors of both cells cancel in part."""
    field = errors({**SMOOTH, "kernel": kernel, "pair": pair})
    span = G_MAX_uS - G_MIN_uS
    squares = {"apart": G_MAX_uS**2 + G_MIN_uS**2, "adjacent": span**2}[pair]
    variance = (0.02 / span) ** 2 * squares
    for rows, columns in ((0, 0), (1, 0), (6, 0), (12, 0), (0, 1), (0, 3), (0, 9), (4, 2), (20, 6)):
        along, across = rows / 6.0, columns / 3.0
        rho = math.exp(-along - across if kernel == "exponential" else -(along**2) - across**2)
        found, error = at_lag(field, rows, columns)
        assert found == pytest.approx(variance * rho, abs=5 * error + 1e-3 * variance)
        assert error < 0.06 * variance


def test_tiles_are_independent() -> None:
    field = errors(SMOOTH)
    variance = field.square().mean().item()
    pairs = (
        (field[:, 0, :, :, -1], field[:, 1, :, :, 0]),  # rows on both sides of an edge
        (field[:, :, :-1, -1], field[:, :, 1:, 0]),  # columns
        (field[:, 0], field[:, 1]),
        (field[:, :, 0], field[:, :, 2]),
    )
    for one, other in pairs:
        by_chip = (one * other).flatten(1).mean(1)
        error = by_chip.std().item() / math.sqrt(CHIPS)
        assert by_chip.mean().item() == pytest.approx(0.0, abs=5 * error)
        assert error < 0.15 * variance


@pytest.mark.parametrize("pair", ["apart", "adjacent"])
def test_a_tile_has_one_gain_and_one_offset(pair: str) -> None:
    many = 200
    gain = errors({"kind": "tile", "sigma_gain": 0.03, "pair": pair}, chips=many)
    offset = errors({"kind": "tile", "sigma_offset_of_g_max": 0.02, "pair": pair}, chips=many)
    for field in (gain, offset):
        assert field.flatten(3).std(-1).max().item() < 1e-5  # nothing differs within a tile
    span = G_MAX_uS - G_MIN_uS
    squares = {"apart": G_MAX_uS**2 + G_MIN_uS**2, "adjacent": span**2}[pair]
    tiles = many * TILES * BLOCKS
    rel = 5 / math.sqrt(2 * tiles)
    spread = gain[..., 0, 0].flatten().std().item()
    assert spread == pytest.approx(0.03 * math.sqrt(squares) / span, rel=rel)
    spread = offset[..., 0, 0].flatten().std().item()
    of_pair = 0.0 if pair == "adjacent" else math.sqrt(2) * 0.02 * G_MAX_uS / span
    assert spread == pytest.approx(of_pair, rel=rel, abs=1e-6)


@pytest.mark.parametrize(
    "smooth",
    [
        {"kind": "tile", "sigma_gain": 0.05},
        {**SMOOTH, "length_in_rows": 1e9, "length_in_columns": 1e9},
    ],
    ids=["tile", "correlated"],
)
def test_the_reference_of_a_tile_varies_with_it(smooth: dict[str, Any]) -> None:
    """A gain of a whole tile is a gain of its weights, and an offset cancels."""
    torch.manual_seed(0)
    digital = nn.Linear(TILES * ROWS, 2 * COLUMNS + 5, bias=False)
    eye = torch.eye(TILES * ROWS)
    offset = {"kind": "tile", "sigma_offset_of_g_max": 0.1}
    for effect in (smooth, offset):
        profile = override_profile(on_tiles(effect), {"array.mapping": "offset-column"})
        model = cimsim.calibrate(cimsim.convert(digital, profile), [eye]).eval()
        with torch.no_grad():
            held = cimsim.program(model, 2)(eye).T.double()
        weights = digital.weight.detach().double()
        gains = []
        width = COLUMNS - 1  # and a reference on each tile
        for first in range(0, len(weights), width):
            for tile in range(TILES):
                block = np.s_[first : first + width, tile * ROWS : (tile + 1) * ROWS]
                one, other = held[block], weights[block]
                gains.append(((one * other).sum() / other.square().sum()).item())
                assert torch.allclose(one, gains[-1] * other, atol=2e-5)
        assert len(gains) == 3 * TILES
        assert len({round(gain, 3) for gain in gains}) == (1 if effect is offset else 3 * TILES)


@pytest.mark.parametrize("of_device", [None, 0.0, 0.4])
def test_it_stays_with_the_device_unless_a_share_says_otherwise(of_device: float | None) -> None:
    effect = SMOOTH if of_device is None else {**SMOOTH, "device_share": of_device}
    first, second, third = (errors(effect, cycle) for cycle in (0, 1, 2))
    expected = 1.0 if of_device is None else of_device
    for one, other in ((first, second), (second, third)):
        by_chip = (one * other).flatten(1).mean(1) / first.square().mean()
        error = by_chip.std().item() / math.sqrt(CHIPS)
        assert by_chip.mean().item() == pytest.approx(expected, abs=5 * error)
        assert error < 0.05
    if of_device is None:
        assert torch.equal(first, third)


def test_a_verified_cell_varies_too() -> None:
    """The window is that of programming, which does not see what varies by place."""
    keys: dict[str, Any] = {"rows": ROWS, "columns": COLUMNS, "g_min_uS": G_MIN_uS}
    noise = [{"kind": "gaussian", "sigma_of_g_max": 0.02}]
    verified = device(programming=noise, verify_uS=0.1, variation=[SMOOTH], **keys)
    model = layer(verified)
    with torch.no_grad():
        field = cimsim.program(model, 1)(torch.eye(TILES * ROWS)).double() - 1
    assert field.abs().max().item() > 3 * 2 * 0.1 / (G_MAX_uS - G_MIN_uS)


def test_the_variance_of_a_weight_is_not_supported_with_variation() -> None:
    model = layer(on_tiles(SMOOTH))
    assert isinstance(model, AnalogLayer)
    with pytest.raises(CimsimError, match=r"does not support 'cell\.variation'"):
        model.array.programming_variance(model.weight)


@pytest.mark.parametrize("kernel", ["exponential", "gaussian"])
@pytest.mark.parametrize("length", [1e-6, 1.0, 1e6])
def test_any_length_works(kernel: str, length: float) -> None:
    lengths = {"length_in_rows": length, "length_in_columns": length}
    field = errors({**SMOOTH, **lengths, "kernel": kernel, "pair": "adjacent"}, chips=4)
    assert field.isfinite().all()
    within = field.flatten(3).std(-1).max().item()
    if length > 1e3:  # a tile varies as one
        assert within < 0.02 * 0.02
    else:
        assert within > 0.5 * 0.02


def test_tiles_that_do_not_differ_are_refused() -> None:
    with pytest.raises(CimsimError, match="set 'sigma_gain' or 'sigma_offset_of_g_max'"):
        override_profile(device(), {"cell.variation": [{"kind": "tile", "source": "a test"}]})
