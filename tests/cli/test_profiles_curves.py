"""``cimsim profiles curves``: a device in the numbers that papers print."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.profile import profile_names

Command = Callable[..., tuple[int, str, str]]


def test_json_has_one_row_for_each_conductance_and_age(cimsim: Command) -> None:
    arguments = ("--g", "0,5,10,25", "--t", "1,3600,1d", "--json")
    code, out, err = cimsim("profiles", "curves", "pcm-ibm-2020", *arguments)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["profile"] == "pcm-ibm-2020"
    places = [(row["g_uS"], row["t_s"]) for row in found["rows"]]
    assert places == [(g, t) for g in (0, 5, 10, 25) for t in (1, 3600, 86400)]
    last = found["rows"][-1]
    assert last["sigma_prog_uS"] == pytest.approx(1.05538)
    assert last["drift_nu_mean"] == pytest.approx(0.049)
    assert last["drift_nu_std"] == pytest.approx(0.008)
    assert last["g_mean_uS"] == pytest.approx(25 * (86420 / 20) ** -0.049)
    assert last["sigma_read_uS"] == pytest.approx(0.742551, rel=1e-4)


@pytest.mark.parametrize("name", profile_names())
def test_every_device_has_a_table(cimsim: Command, name: str) -> None:
    code, out, err = cimsim("profiles", "curves", name, "--t", "0,1h,1y")
    assert (code, err) == (0, "")
    assert name in out
    assert sum(line.startswith("│") for line in out.splitlines()) == 15


@pytest.mark.parametrize("name", ["ideal", "pcm-ibm-2020", "sonos-agrawal-2022"])
def test_a_device_has_a_figure(cimsim: Command, tmp_path: Path, name: str) -> None:
    """Without noise, with drift and read noise, with measured tables."""
    figure = tmp_path / "device.png"
    code, _, err = cimsim("profiles", "curves", name, "--t", "0,1h,1y", "--out", figure)
    assert (code, err) == (0, "")
    assert figure.stat().st_size > 10_000
    assert figure.with_suffix(".svg").exists()


def test_a_value_set_by_hand_is_seen(cimsim: Command) -> None:
    key = "cell.drift.power-law.strength=0"
    out = cimsim("profiles", "curves", "pcm-ibm-2020", "--g", 25, "--json", "--set", key)[1]
    assert [row["g_mean_uS"] for row in json.loads(out)["rows"]] == [25, 25, 25]


@pytest.mark.parametrize(("sigma_uS", "window_uS"), [(1.0, 0.5), (2.0, 1.0), (0.1, 0.5)])
def test_write_and_verify_limits_the_spread(
    cimsim: Command, sigma_uS: float, window_uS: float
) -> None:
    """A normal error truncated to the window; see tests/physics/test_characteristics.py."""
    sigma = f"cell.programming_noise.0.sigma_uS={{kind: polynomial, coefficients: [{sigma_uS}]}}"
    window = f"cell.write_verify.tolerance_uS={window_uS}"
    settings = ("--set", sigma, "--set", window)
    out = cimsim("profiles", "curves", "pcm-ibm-2020", "--g", 12, "--t", "1s", "--json", *settings)[
        1
    ]
    edge = window_uS / sigma_uS
    density = math.exp(-(edge**2) / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * edge * density / math.erf(edge / math.sqrt(2))
    (row,) = json.loads(out)["rows"]
    assert row["sigma_prog_uS"] == pytest.approx(sigma_uS * math.sqrt(variance), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--g", "30"), "a conductance of pcm-ibm-2020 must be 0 to 25 µS, not 30 µS"),
        (("--g", "nan"), "must be 0 to 25 µS, not nan µS"),
        (("--g", "1;2"), "--g '1;2': must be numbers separated by commas, such as 0,5,10"),
        (("--t", "soon"), "'soon' is not a duration"),
        (("--t", "-1"), "'-1' is not a duration"),
        (("--out", "figure.gif"), "choose a name ending in .png"),
        (("--size", "9x6cm"), "--size applies to a figure, but none is drawn; add --out"),
    ],
)
def test_senseless_wishes_are_refused(
    cimsim: Command, arguments: tuple[str, str], message: str
) -> None:
    code, out, err = cimsim("profiles", "curves", "pcm-ibm-2020", *arguments)
    assert (code, out) == (2, "")
    assert message in err
