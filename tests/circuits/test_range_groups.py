"""Which columns share a full scale."""

import pytest
import torch

from cimsim.circuits.range_groups import RangeGroups

SHAPES = {"layer": (), "slice": (3,), "tile": (2,), "column": (2, 12)}


@pytest.mark.parametrize("per", SHAPES)
def test_a_column_finds_the_scale_of_its_own_group(per: str) -> None:
    groups = RangeGroups(per, tiles=2, slices=3, columns=4)
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
    groups = RangeGroups("slice", tiles=1, slices=2, columns=3)
    assert groups.of_columns(torch.tensor([1.0, 2.0])).tolist() == [[1, 1, 1, 2, 2, 2]]
    z = torch.arange(6.0).view(1, 6, 1)
    assert groups.gathered(z).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_single_slice_has_the_range_of_its_layer() -> None:
    assert RangeGroups("slice", tiles=4, slices=1, columns=3).shape == ()
