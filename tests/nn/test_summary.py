"""What became of every layer, counted by hand."""

import pytest
from torch import nn

import cimsim


def test_tiles_cells_and_reasons() -> None:
    class Mine(nn.Linear):
        pass

    model = nn.Sequential(
        nn.Conv2d(3, 600, 3, bias=False), nn.BatchNorm2d(600), nn.Linear(1000, 10), Mine(2, 2)
    )
    model.register_parameter("scale", nn.Parameter(model[1].weight.detach()[:1].clone()))
    analog = cimsim.convert(model, "pcm-ibm-2020", keep_digital=["2"])
    found = cimsim.summary(analog)
    named = {layer.name: layer for layer in found.layers}
    assert list(named) == ["", "0", "1", "2", "3"]
    conv = named["0"].occupancy
    assert conv is not None
    assert conv.tiles == 2  # 27 rows on one, 600 columns on two tiles of 512 x 512
    assert conv.used_cells == 2 * 27 * 600
    assert conv.utilization == pytest.approx(2 * 27 * 600 / (2 * 2 * 512 * 512))
    assert named["1"].where == "digital: normalizes"
    assert named["2"].where == "digital: not converted"
    assert named["3"].where == "digital: its class may compute something else"
    assert named[""].where == "digital: unknown kind of layer"
    assert found.tiles == 2
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert str(found).splitlines()[-1].split()[:3] == ["all", f"{found.parameters:,}", "2"]


def test_depthwise_kernels_waste_tiles() -> None:
    """Each group is a tile of its own."""
    analog = cimsim.convert(nn.Conv2d(8, 8, 3, groups=8), "pcm-ibm-2020")
    assert cimsim.summary(analog).tiles == 8


def test_slices_and_reference_take_columns() -> None:
    overrides = ["array.mapping=offset-column", "array.columns=16", "array.rows=32"]
    layer = cimsim.convert(nn.Linear(32, 16), cimsim.load_profile("pcm-ibm-2020", overrides))
    found = cimsim.summary(layer)
    assert found.tiles == 2  # 16 outputs and a reference on each tile of 16 columns
    assert found.cells == 32 * 16


def test_a_digital_model_has_no_tiles() -> None:
    found = cimsim.summary(nn.Linear(3, 2))
    assert found.tiles == 0
    assert found.utilization != found.utilization
    assert found.layers[0].where == "digital: not converted"
