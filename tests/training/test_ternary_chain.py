"""Words that move one step at a time."""

from __future__ import annotations

import torch

from cimsim.quantizers.ternary import MINUS_ZERO, PLUS_ZERO
from cimsim.training.optimizers import TernaryChain


def weight(seed: int = 0) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(8, 32, generator=torch.Generator().manual_seed(seed)))


def test_weights_are_three_values_of_one_scale() -> None:
    w = weight()
    before = w.detach().clone()
    chain = TernaryChain([w])
    scale = before.abs()[before.abs() > 0.5 * before.abs().mean()].mean()
    torch.testing.assert_close(w.detach().unique(), torch.tensor([-1.0, 0.0, 1.0]) * scale)
    assert set(chain.state[w]) == {"word", "votes", "scale"}
    assert chain.state[w]["word"].dtype == torch.uint8


def test_steady_votes_walk_the_whole_chain_one_word_at_a_time() -> None:
    for signed, stations in ((True, 4), (False, 3)):
        w = weight()
        chain = TernaryChain([w], patience=2, signed=signed)
        down = torch.zeros(8, 32)
        down[0, :4] = 1.0  # the loudest few: more than the median of the gradient
        seen = [chain.state[w]["word"][0, :4].clone()]
        for _ in range(3 * 6):
            w.grad = down.clone()
            chain.step()
            word = chain.state[w]["word"][0, :4]
            if not torch.equal(word, seen[-1]):
                seen.append(word.clone())
        assert (seen[-1] == 0).all()  # all the way down
        moves = torch.stack(seen).int().diff(dim=0)
        assert (moves <= 0).all()
        most = {4: -1, 3: -2}[stations]  # plain ternary passes over the other zero
        assert moves.min() >= most
        if not signed:
            assert not (chain.state[w]["word"] == MINUS_ZERO).any()
            assert (chain.state[w]["word"] == PLUS_ZERO).any()


def test_votes_of_both_signs_cancel() -> None:
    w = weight()
    before = TernaryChain([w], patience=2)
    word = before.state[w]["word"].clone()
    gradient = torch.randn(8, 32)
    for i in range(20):
        w.grad = gradient * (-1) ** i
        before.step()
    assert torch.equal(before.state[w]["word"], word)


def test_its_state_is_saved_and_loaded() -> None:
    w, other = weight(), weight(1)
    chain = TernaryChain([w])
    w.grad = torch.randn(8, 32)
    chain.step()
    twin = TernaryChain([other])
    twin.load_state_dict(chain.state_dict())
    for key in ("word", "votes"):
        assert twin.state[other][key].dtype == chain.state[w][key].dtype
        assert torch.equal(twin.state[other][key], chain.state[w][key])
