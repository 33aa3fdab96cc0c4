"""Which columns share a full scale."""

import pytest
import torch

from cimsim.circuits.range_groups import RangeGroups

SHAPES = {"layer": (), "slice": (3,), "tile": (2,), "column": (2, 12)}


@pytest.mark.parametrize("per", SHAPES)
def test_a_column_finds_the_scale_of_its_own_group(per: str) -> None:
    groups = RangeGroups(per, tiles=2, slices=3, columns=4, tile_columns=12)
    assert groups.shape == SHAPES[per]
    values = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    gathered = groups.gathered(values)
    assert gathered.shape == (groups.count, 2 * 12 * 5 // groups.count)
    largest = gathered.amax(1).view(groups.shape)
    of_columns = groups.of_columns(largest)
    assert of_columns.shape == (2, 12)
    assert (of_columns.unsqueeze(-1) >= values).all()
    assert of_columns.unique().numel() == groups.count
    for scale in largest.flatten():
        assert (values == scale).any()


def test_by_hand() -> None:
    """Slices of an output lie a number of columns apart."""
    groups = RangeGroups("slice", tiles=1, slices=2, columns=3, tile_columns=6)
    assert groups.of_columns(torch.tensor([1.0, 2.0])).tolist() == [[1, 1, 1, 2, 2, 2]]
    z = torch.arange(6.0).view(1, 6, 1)
    assert groups.gathered(z).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_single_slice_has_the_range_of_its_layer() -> None:
    assert RangeGroups("slice", tiles=4, slices=1, columns=3, tile_columns=512).shape == ()


def test_a_physical_tile_has_its_own_scale_also_where_it_is_not_full() -> None:
    groups = RangeGroups("tile", tiles=2, slices=1, columns=7, tile_columns=3)
    assert groups.shape == (6,)
    scales = torch.arange(6.0)
    assert groups.of_columns(scales).tolist() == [[0, 0, 0, 1, 1, 1, 2], [3, 3, 3, 4, 4, 4, 5]]
    z = torch.arange(28.0).view(2, 7, 2)
    gathered = groups.gathered(z)
    assert gathered[2].tolist() == [12.0, 13.0] * 3  # one column instead of three
    assert gathered[4].tolist() == [20.0, 22.0, 24.0, 21.0, 23.0, 25.0]
    assert groups.summed(z).tolist() == [15.0, 51.0, 25.0, 99.0, 135.0, 53.0]
    used = torch.tensor([[1, 0, 1, 0, 1, 1, 0]] * 2).bool()
    gathered = groups.gathered(z, used)
    assert gathered[0].tolist() == [0.0, 4.0, 1.0, 5.0]
    assert gathered[2].tolist() == [0.0] * 4
