import torch
from hypothesis import given
from hypothesis import strategies as st

from cimsim.array import Mask


@given(st.integers(1, 70), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_round_trip(line: int, lines: int, seed: int) -> None:
    mask = torch.rand(lines, line, generator=torch.Generator().manual_seed(seed)) > 0.5
    packed = Mask.pack(mask, line)
    assert packed.bits.dtype == torch.uint8
    assert packed.bits.numel() == lines * -(-line // 8)
    assert torch.equal(packed.unpack(), mask)


def test_shape_and_strides_do_not_matter() -> None:
    turned = (torch.rand(3, 5, 7) > 0.5).transpose(0, 2)
    assert torch.equal(Mask.pack(turned, 3).unpack(), turned)


def test_the_first_value_is_the_lowest_bit() -> None:
    mask = torch.tensor([[True, True, False, True], [False, False, False, True]])
    assert Mask.pack(mask, 4).bits.flatten().tolist() == [0b1011, 0b1000]


def test_lines_that_fill_their_bytes_may_lie_apart_in_memory() -> None:
    turned = (torch.rand(16, 5) > 0.5).T
    assert torch.equal(Mask.pack(turned, 16).unpack(), turned)
