"""Read disturb and endurance, as a layer's outputs show them, against their tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.kernels import not_programmed
from cimsim.physics.characteristics import characteristics
from cimsim.profile import Profile, override_profile
from tests.building import SOURCE, device

BACK_ENDS: tuple[kernels.Use, ...] = ("fused", "numbers")
SIDE = 100
G_MIN_uS, G_MAX_uS = 5.0, 25.0
HALF_uS = (G_MAX_uS - G_MIN_uS) / 2
NOISE = {"kind": "gaussian", "sigma_of_g_max": 0.02}  # 0.5 uS


def flat(value: float) -> dict[str, Any]:
    return {"kind": "polynomial", "coefficients": [value]}


DISTURB = {
    "kind": "read-disturb",
    "reads": 0.0,
    "g_ref_uS": 25.0,
    "reads_of_table": [9.0, 999.0, 99_999.0],  # 1, 3 and 5 decades of 1 + N
    "shift_uS": [flat(-0.2), flat(-1.0), flat(-3.0)],
    "sigma_uS": [flat(0.1), flat(0.2), flat(0.6)],
}
WORN = {
    "kind": "tabulated",
    "cycles": 0.0,
    "cycles_of_table": [9.0, 999.0],
    "spread_factor": [1.0, 2.0],
    "g_low_uS": [5.0, 9.0],
    "g_high_uS": [25.0, 19.0],
}


def chip(target_uS: float = 15.0, endurance: Any = None, **keys: Any) -> nn.Linear:
    """A layer whose cells, one for each weight, are written to ``target_uS``."""
    profile = device(g_min_uS=G_MIN_uS, g_max_uS=G_MAX_uS, **keys)
    profile = override_profile(profile, {"array.mapping": "single-device"})
    if endurance is not None:
        profile = override_profile(profile, {"cell.endurance": {**endurance, "source": SOURCE}})
    digital = nn.Linear(SIDE, SIDE, bias=False)
    with torch.no_grad():
        digital.weight.fill_((target_uS - 15.0) / HALF_uS)[:, 0] = 1.0
    eye = torch.eye(SIDE)
    model = cimsim.calibrate(cimsim.convert(digital, profile), [eye]).eval()
    assert isinstance(model, nn.Linear)
    return model


def read(model: nn.Module, age_s: float = 0.0, seed: int = 1) -> Tensor:
    """Conductances in µS."""
    cimsim.age(cimsim.program(model, seed), age_s)
    with torch.no_grad():
        return 15.0 + HALF_uS * model(torch.eye(SIDE)).double()[1:]


def close(found: Tensor, mean_uS: float, sigma_uS: float) -> None:
    cells = found.numel()
    assert found.mean().item() == pytest.approx(
        mean_uS, abs=4.5 * sigma_uS / math.sqrt(cells) + 1e-5
    )
    assert found.std().item() == pytest.approx(sigma_uS, rel=4.5 / math.sqrt(2 * cells), abs=1e-5)


DECADES = [  # of 1 + N, the mean change, the spread
    (0.0, 0.0, 0.0),
    (0.5, -0.1, 0.05),
    (1.0, -0.2, 0.1),
    (2.0, -0.6, 0.15),
    (4.0, -2.0, 0.4),
    (5.0, -3.0, 0.6),
    (7.0, -3.0, 0.6),
]


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize(("decades", "shift_uS", "sigma_uS"), DECADES)
def test_reads_move_cells_as_the_table_says(
    decades: float, shift_uS: float, sigma_uS: float, which: kernels.Use
) -> None:
    """Linear in ln(1 + N) from nothing at N = 0."""
    reads = 10.0**decades - 1
    with kernels.use(which):
        given = read(chip(drift=[{**DISTURB, "reads": reads}]))
        aged = read(chip(drift=[{**DISTURB, "reads_per_s": 10.0}]), reads / 10.0)
    close(given, 15.0 + shift_uS, sigma_uS)
    assert torch.allclose(aged, given, rtol=1e-5)


def test_reads_are_counted_from_the_user_and_from_the_age() -> None:
    model = chip(drift=[{**DISTURB, "reads": 499.0, "reads_per_s": 5.0}])
    close(read(model, 100.0), 14.0, 0.2)


def test_a_drift_compensation_undoes_the_mean_of_what_reads_did() -> None:
    """It is the loss since programming, whatever its cause."""
    loss = {**DISTURB, "reads": 99_999.0, "spread_strength": 0.0}
    digital = nn.Linear(SIDE, SIDE, bias=False)
    nn.init.constant_(digital.weight, 1.0)
    for compensation, expected in (("none", 22.0 / 25.0), ("global", 1.0)):
        profile = device(g_max_uS=25.0, drift=[loss], compensation=compensation)
        model = cimsim.calibrate(cimsim.convert(digital, profile), [torch.eye(SIDE)]).eval()
        with torch.no_grad():
            y = cimsim.program(model, 1)(torch.eye(SIDE))
        assert torch.allclose(y, torch.full_like(y, expected), rtol=1e-5)


def test_what_reads_did_is_drawn_again_when_the_chip_is_written_again() -> None:
    for share, expected in ((None, 0.0), (0.6, 0.6)):
        more = {} if share is None else {"device_share": share}
        model = chip(drift=[{**DISTURB, "reads": 999.0, **more}])
        found = []
        for cycle in (0, 1):
            cimsim.program(model, 1, cycle)
            with torch.no_grad():
                found.append(model(torch.eye(SIDE))[1:].flatten())
        correlation = torch.corrcoef(torch.stack(found))[0, 1].item()
        assert correlation == pytest.approx(expected, abs=4.5 / SIDE)


WEAR = [  # decades of 1 + cycles, factor on the spread, lowest and highest target
    (0.0, 1.0, 5.0, 25.0),
    (1.0, 1.0, 5.0, 25.0),
    (2.0, 1.5, 7.0, 22.0),
    (3.0, 2.0, 9.0, 19.0),
    (6.0, 2.0, 9.0, 19.0),
]


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize("target_uS", [5.0, 8.0, 15.0, 21.0, 25.0])
@pytest.mark.parametrize(("decades", "factor", "low_uS", "high_uS"), WEAR)
def test_worn_cells_spread_more_and_reach_less(
    decades: float,
    factor: float,
    low_uS: float,
    high_uS: float,
    target_uS: float,
    which: kernels.Use,
) -> None:
    worn = {**WORN, "cycles": 10.0**decades - 1}
    with kernels.use(which):
        found = read(chip(target_uS, worn, programming=[NOISE]))
    close(found, min(max(target_uS, low_uS), high_uS), 0.5 * factor)


@pytest.mark.parametrize(
    ("noise", "sigma_uS"),
    [
        ({"kind": "relative", "sigma_of_g": 0.02}, 0.3),
        ({"kind": "state-dependent", "g_ref_uS": 25.0, "sigma_uS": flat(0.4)}, 0.4),
        (NOISE, 0.5),
    ],
    ids=["relative", "state-dependent", "gaussian"],
)
def test_every_kind_of_programming_noise_widens(noise: dict[str, Any], sigma_uS: float) -> None:
    worn = {**WORN, "cycles": 999.0}
    close(read(chip(15.0, worn, programming=[noise])), 15.0, 2 * sigma_uS)
    profile = chip(15.0, worn, programming=[noise]).profile
    assert isinstance(profile, Profile)
    (row,) = characteristics(profile, [15.0], [0.0])
    assert row.sigma_prog_uS == pytest.approx(2 * sigma_uS)


def test_half_the_strength_is_half_the_wear() -> None:
    worn = {**WORN, "cycles": 999.0, "strength": 0.5}
    close(read(chip(25.0, worn, programming=[NOISE])), 22.0, 0.75)
    fresh = read(chip(25.0, programming=[NOISE]))
    assert torch.equal(read(chip(25.0, {**worn, "strength": 0.0}, programming=[NOISE])), fresh)
    written_first = read(chip(25.0, {**worn, "cycles": 0.0}, programming=[NOISE]))
    assert torch.allclose(written_first, fresh, rtol=1e-6)


def test_weights_beyond_the_window_have_no_gradient() -> None:
    """They are written to its edge, whatever they are."""
    model = chip(15.0, {**WORN, "cycles": 999.0}, programming=[NOISE])
    with torch.no_grad():
        model.weight[:, 1] = 0.9
    x = torch.randn(8, SIDE)
    (gradient,) = torch.autograd.grad(model(x).sum(), model.weight)
    assert gradient[:, 1].abs().max() < 1e-5
    assert gradient[:, 2:].abs().min() > 0


def test_cycles_and_reads_are_set_and_swept_like_any_number() -> None:
    profile = chip(15.0, WORN, programming=[NOISE], drift=[DISTURB]).profile
    assert isinstance(profile, Profile)
    later = override_profile(profile, {"cell.endurance.cycles": 1e6, "cell.drift.0.reads": 1e9})
    assert later.cell.endurance is not None
    assert later.cell.endurance.cycles == 1e6
    assert later.cell.drift[0].model_dump()["reads"] == 1e9


def test_the_kernels_leave_both_to_plain_torch_and_name_them() -> None:
    profile = chip(15.0, WORN, programming=[NOISE], drift=[DISTURB]).profile
    assert isinstance(profile, Profile)
    assert set(not_programmed(profile)) == {"cell.endurance", "cell.drift"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cycles_of_table": [999.0, 9.0]}, "the numbers of cycles must be in ascending order"),
        ({"spread_factor": [1.0]}, "one value for each of the 2 numbers in 'cycles_of_table'"),
        ({"g_low_uS": [5.0]}, "one value for each of the 2 numbers in 'cycles_of_table'"),
        ({"g_low_uS": [5.0, 19.0]}, "must be above 'g_low_uS', otherwise the window is empty"),
        ({"g_high_uS": [25.0, 26.0]}, "'g_high_uS' must be between g_min_uS and g_max_uS"),
        ({"strength": 1e6}, "would grow by more than 1e\\+06 times"),
        ({"cycles": -1.0}, "greater than or equal to 0"),
    ],
)
def test_tables_of_endurance_that_no_cell_has_are_refused(
    changed: dict[str, Any], message: str
) -> None:
    data = device(g_min_uS=G_MIN_uS, g_max_uS=G_MAX_uS, programming=[NOISE]).model_dump()
    data["cell"]["endurance"] = {**WORN, **changed, "source": SOURCE}
    with pytest.raises(ValidationError, match=message):
        Profile.model_validate(data)


def test_a_spread_that_is_not_there_cannot_grow() -> None:
    data = device(g_min_uS=G_MIN_uS, g_max_uS=G_MAX_uS).model_dump()
    data["cell"]["endurance"] = {**WORN, "source": SOURCE}
    Profile.model_validate(data)
    del data["cell"]["endurance"]["g_low_uS"], data["cell"]["endurance"]["g_high_uS"]
    with pytest.raises(ValidationError, match="no programming noise to scale"):
        Profile.model_validate(data)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reads_of_table": [9.0, 9.0, 10.0]}, "the numbers of reads must be in ascending order"),
        ({"sigma_uS": [flat(1.0)]}, "one curve for each of the 3 numbers in 'reads_of_table'"),
        ({"reads": -1.0}, "greater than or equal to 0"),
    ],
)
def test_tables_of_reads_that_contradict_themselves_are_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        device(drift=[{**DISTURB, **changed}])
