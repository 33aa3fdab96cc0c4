import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.estimators.masks import pack, unpack


@given(st.lists(st.booleans(), max_size=70))
def test_round_trip(values: list[bool]) -> None:
    mask = torch.tensor(values, dtype=torch.bool)
    packed = pack(mask)
    assert packed.dtype == torch.uint8
    assert packed.numel() == -(-len(values) // 8)
    assert torch.equal(unpack(packed, mask.shape), mask)


def test_shape_and_strides_do_not_matter() -> None:
    mask = torch.rand(3, 5, 7) > 0.5
    turned = mask.transpose(0, 2)
    assert torch.equal(unpack(pack(turned), turned.shape), turned)
