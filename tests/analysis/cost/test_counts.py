"""How often each part works, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import cimsim
from cimsim.analysis.cost import Counts, count, workload_of
from cimsim.analysis.cost.workload import AnalogWork, DigitalWork
from cimsim.array.occupancy import occupancy
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer
from cimsim.profile import Profile, load_profile


def chip(*overrides: str) -> Profile:
    return load_profile("pcm-ibm-2020", ["array.drift_compensation=none", *overrides])


TINY = ("array.rows=2", "array.columns=2", "dac.bits=3", "dac.bit_serial=true")


def counted(layer: nn.Module, x: torch.Tensor, *overrides: str) -> Counts:
    model = cimsim.convert(nn.Sequential(layer), chip(*overrides))
    (work,) = workload_of(model, x).layers
    assert isinstance(work, AnalogWork)
    return count(work, work.profile)


def test_three_inputs_on_tiles_of_two_bit_by_bit() -> None:
    # Two tiles of 2 x 2 pairs; 3 bits are a sign, which goes along, and two pulses.
    assert counted(nn.Linear(3, 2), torch.ones(1, 3), *TINY) == Counts(
        macs=6,
        vectors=1,
        pulses=2,
        tiles=2,
        row_tiles=2,
        blocks=1,
        devices=2,
        cells=12,  # 6 weights on pairs
        columns_per_adc=1,
        cell_reads=24,  # in two pulses
        dac_conversions=6,  # 3 rows, two pulses
        adc_conversions=8,  # 2 columns on 2 tiles, two pulses
        shift_adds=4,  # of two bits, for 2 columns on 2 tiles
        adds=4,  # of two tiles, and the bias, for 2 outputs
        multiplies=4,  # a scale for 2 columns on 2 tiles
        buffer_bits=15,  # 3 inputs and 2 outputs of 3 bits
        held_bits=9,
        copies=1,
        column_lines=8,  # pairs of columns for 2 outputs on 2 tiles
        cycles=0,
        integrations=0,
    )


@pytest.mark.parametrize(("cycles", "of_a_vector"), [("binary", 1 + 2), ("single", 2)])
def test_bits_that_add_up_as_charge_take_one_conversion(cycles: str, of_a_vector: int) -> None:
    analog = (f"cost.accumulation={{kind: analog, cycles: {cycles}}}", "array.slices=3")
    found = counted(nn.Linear(3, 2), torch.ones(1, 3), *TINY, "cell.levels=2", *analog)
    assert found.adc_conversions == 2 * 2 * 3  # of 2 outputs on 2 tiles, once for each slice
    assert found.shift_adds == 2 * 2 * (3 - 1)  # of slices only
    assert (found.cycles, found.integrations) == (of_a_vector, of_a_vector * 2 * 2 * 3)
    assert found.dac_conversions == 2 * 3 * found.blocks  # as many pulses as ever
    at_once = counted(nn.Linear(3, 2), torch.ones(1, 3), *TINY, *analog[:1], "dac.bit_serial=false")
    assert (at_once.cycles, at_once.integrations) == (1, 2 * 2)


def test_copies_work_on_as_many_vectors() -> None:
    """A convolution with 25 places; 9 rows and 2 columns, so that a tile of 18 x 8 holds two."""
    tile = ("array.rows=18", "array.columns=8")
    conv, x = nn.Conv2d(1, 2, 3, padding=1), torch.ones(1, 1, 5, 5)
    one = counted(conv, x, *tile)
    assert (one.copies, one.tiles, one.cells) == (1, 1, 36)
    three = counted(conv, x, *tile, "cost.replication.copies=3")
    assert (three.copies, three.tiles, three.cells) == (3, 2, 3 * 36)
    assert (three.adc_conversions, three.cell_reads) == (one.adc_conversions, one.cell_reads)
    ten = counted(conv, x, *tile, "cost.replication.vectors_per_copy=10")
    assert ten.copies == 3
    assert counted(conv, x, *tile, "cost.replication.copies=99").copies == 25
    linear = counted(nn.Linear(9, 2), torch.ones(1, 9), *tile, "cost.replication.copies=99")
    assert linear.copies == 1  # it has one vector
    split = counted(nn.Conv2d(4, 2, 3, padding=1), torch.ones(1, 4, 5, 5), *tile)
    assert split.tiles == 2
    copied = counted(
        nn.Conv2d(4, 2, 3, padding=1), torch.ones(1, 4, 5, 5), *tile, "cost.replication.copies=3"
    )
    assert copied.tiles == 3 * 2


@pytest.mark.parametrize(("lowest", "pulses"), [(0.0, 3), (-1.0, 2)])
def test_inputs_without_a_sign_take_a_pulse_for_each_bit(lowest: float, pulses: int) -> None:
    x = torch.tensor([[1.0, 0.5, lowest]])
    found = counted(nn.Linear(3, 2), x, *TINY, "dac.sign=if-needed")
    assert found.pulses == pulses
    assert found.adc_conversions == 2 * 2 * pulses
    assert counted(nn.Linear(3, 2), x, *TINY).pulses == 2


def test_a_calibrated_layer_keeps_the_sign_of_its_calibration() -> None:
    layer = cimsim.convert(nn.Linear(3, 2), chip(*TINY, "dac.sign=if-needed"))
    x = torch.ones(4, 3)
    for seen, pulses in ((x, 3), (x - 2 * torch.eye(4, 3), 2)):
        cimsim.calibrate(layer, [seen])
        (work,) = workload_of(layer, x).layers
        assert isinstance(work, AnalogWork)
        assert count(work, work.profile).pulses == pulses


def test_slices_are_columns_of_their_own() -> None:
    found = counted(
        nn.Linear(3, 2, bias=False), torch.ones(1, 3), *TINY, "cell.levels=2", "array.slices=2"
    )
    assert (found.blocks, found.tiles) == (2, 4)  # 4 columns on tiles of 2
    assert found.cells == 24
    assert found.dac_conversions == 12  # every block drives its own rows
    assert found.adc_conversions == 16
    assert found.shift_adds == 12  # 4 parts of each of 2 columns on 2 tiles
    assert found.adds == 2


def test_a_reference_column_takes_cells_but_no_conversion() -> None:
    found = counted(
        nn.Linear(3, 2, bias=False), torch.ones(1, 3), *TINY, "array.mapping=offset-column"
    )
    assert (found.devices, found.blocks, found.tiles) == (1, 2, 4)  # 1 column and its reference
    assert found.cells == 6 + 2 * 3  # the reference's on both blocks
    assert found.adc_conversions == 8


def test_a_digital_reference_takes_additions() -> None:
    found = counted(
        nn.Linear(3, 2, bias=False), torch.ones(1, 3), *TINY, "array.mapping=single-device"
    )
    assert found.cells == 6
    # The inputs of each tile are summed (2 rows need one addition, 1 row none) and subtracted from
    # 2 columns on each; then two tiles are joined.
    assert found.adds == 1 + 4 + 2


def test_a_convolution_with_stride_and_groups() -> None:
    # 11 x 11 with a border, every other place: 6 x 6. Each group has 2 channels of 9 rows, one to
    # a tile of 9, and 3 columns, on tiles of 2.
    found = counted(
        nn.Conv2d(4, 6, 3, stride=2, groups=2, padding=1),
        torch.ones(1, 4, 11, 11),
        "array.rows=9",
        "array.columns=2",
    )
    assert (found.vectors, found.pulses) == (36, 1)
    assert found.macs == 36 * 6 * 2 * 9
    assert (found.row_tiles, found.blocks, found.tiles) == (2, 2, 2 * 2 * 2)
    assert found.cells == 6 * 18 * 2
    assert found.dac_conversions == 36 * (2 * 18) * 2
    assert found.adc_conversions == 36 * 6 * 2
    assert (found.shift_adds, found.adds) == (0, 36 * 6 * (1 + 1))
    assert found.multiplies == 36 * 6 * 2
    assert found.buffer_bits == 8 * (36 * 36 + 36 * 6)
    assert found.held_bits == 8 * 4 * 11 * 11


def test_a_transposed_convolution_adds_what_overlaps() -> None:
    # 3 inputs, each 4 columns for 2 channels of 2 entries; the output has 4 places of 2 channels.
    found = counted(nn.ConvTranspose1d(5, 2, 2, bias=False), torch.ones(1, 5, 3))
    assert found.vectors == 3
    assert found.macs == 3 * 5 * 4
    assert found.adc_conversions == 12
    assert found.adds == 12 - 8


def test_neighboring_columns_share_an_adc() -> None:
    shared = "adc.columns_per_adc=8"
    assert counted(nn.Linear(3, 20), torch.ones(1, 3), shared).columns_per_adc == 8
    assert counted(nn.Linear(3, 2), torch.ones(1, 3), shared).columns_per_adc == 2


def test_one_scale_for_a_layer() -> None:
    found = counted(nn.Linear(3, 2), torch.ones(1, 3), *TINY, "array.weight_scale=layer")
    assert found.multiplies == 2


@given(
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 40),
    rows=st.integers(1, 16),
    columns=st.integers(2, 16),
    mapping=st.sampled_from(
        ["differential-pair", "offset-column", "single-device", "offset-current"]
    ),
    split=st.sampled_from(["even", "fill"]),
)
def test_tiles_are_those_of_the_summary(
    inputs: int, outputs: int, rows: int, columns: int, mapping: str, split: str
) -> None:
    sizes = [f"array.rows={rows}", f"array.columns={columns}"]
    device = chip(*sizes, f"array.mapping={mapping}", f"array.row_split={split}")
    layer = cimsim.convert(nn.Linear(inputs, outputs), device)
    assert isinstance(layer, AnalogLayer)
    (work,) = workload_of(layer, torch.ones(2, inputs)).layers
    assert isinstance(work, AnalogWork)
    found = count(work, device)
    assert found.tiles == occupancy(layer.array, (outputs, inputs)).tiles
    assert found.macs == inputs * outputs
    assert found.dac_conversions == inputs * found.blocks


def macs(model: nn.Module, x: torch.Tensor, **settings: Any) -> dict[str, float]:
    """MACs of every layer, digital ones in brackets."""
    converted = cimsim.convert(model, "pcm-ibm-2020", **settings)
    found: dict[str, float] = {}
    for layer in workload_of(converted, x).layers:
        if isinstance(layer, DigitalWork):
            found[f"[{layer.name}]"] = layer.macs
        else:
            found[layer.name] = count(layer, layer.profile).macs
    return found


def test_attention_is_digital_and_its_projections_are_not() -> None:
    # 5 places of 16 features in 2 heads of 8: scores and weighted sums are 2 x 5 x 5 x 8 each.
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    assert macs(layer, torch.ones(2, 5, 16)) == {
        "self_attn.q_proj": 5 * 256,
        "self_attn.k_proj": 5 * 256,
        "self_attn.v_proj": 5 * 256,
        "[self_attn]": 2 * 2 * 5 * 5 * 8,
        "self_attn.out_proj": 5 * 256,
        "linear1": 5 * 512,
        "linear2": 5 * 512,
    }


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_recurrence_counts_every_step(device: str) -> None:
    x = torch.ones(2, 5, 4, device=device)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8, device=device)
            self.then = nn.LSTM(8, 16, batch_first=True, device=device)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.then(self.first(x))[0]

    analog = {"first": 5 * 32, "then.ih_l0": 5 * 8 * 64, "then.hh_l0": 5 * 16 * 64}
    assert macs(Network(), x) == analog
    whole = {"first": 5 * 32, "[then]": 5 * (8 + 16) * 64}
    assert macs(Network(), x, keep_digital=["then.*"]) == whole


def test_the_pass_leaves_the_model_as_it_was() -> None:
    model = cimsim.convert(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), "pcm-ibm-2020")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    workload_of(model, torch.ones(2, 4))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert before.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num())


def test_what_is_refused() -> None:
    with pytest.raises(CimsimError, match="no analog layers"):
        workload_of(nn.Linear(2, 2), torch.ones(1, 2))
    layer = cimsim.convert(nn.Linear(2, 2), "pcm-ibm-2020")
    with pytest.raises(CimsimError, match="at least one input"):
        workload_of(layer, torch.ones(0, 2))
