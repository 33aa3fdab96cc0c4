"""The three networks are the published ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cimsim.errors import CimsimError
from cimsim.training.models import build_model


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_mlp_is_784_256_128_10() -> None:
    layers = [m for m in build_model("mlp", (1, 28, 28), 10, 0) if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [(784, 256), (256, 128), (128, 10)]


def test_cnn_is_the_one_of_the_paper() -> None:
    model = build_model("cnn", (1, 28, 28), 10, 0)
    assert count(model) == 493_642
    dense = [m.in_features for m in model if isinstance(m, nn.Linear)]
    assert dense == [1600, 256, 64]
    kernels = [m.kernel_size for m in model if isinstance(m, nn.Conv2d)]
    assert kernels == [(4, 4), (4, 4)]


def test_cnn_starts_glorot_normal() -> None:
    model = build_model("cnn", (1, 28, 28), 10, 0)
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            receptive = module.weight[0, 0].numel()
            fan = (module.weight.shape[0] + module.weight.shape[1]) * receptive
            assert module.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.1)
            assert torch.count_nonzero(module.bias) == 0


@pytest.mark.parametrize("size", [7, 8, 9, 10, 11, 13, 28, 32, 33])
def test_cnn_fits_any_image_from_7x7_on(size: int) -> None:
    assert build_model("cnn", (2, size, 40), 10, 0)(torch.zeros(1, 2, size, 40)).shape == (1, 10)


@pytest.mark.parametrize(("size", "kernel"), [(9, (3, 3)), (10, (4, 4))])
def test_cnn_has_smaller_kernels_only_where_it_must(size: int, kernel: tuple[int, int]) -> None:
    assert build_model("cnn", (1, size, size), 10, 0).conv2.kernel_size == kernel


def test_cnn_refuses_smaller_images() -> None:
    with pytest.raises(CimsimError, match=r"'cnn' needs images of at least 7x7 .* got 6x40; use"):
        build_model("cnn", (2, 6, 40), 10, 0)


def test_resnet20_is_the_one_of_the_paper() -> None:
    model = build_model("resnet20", (3, 32, 32), 10, 0)
    # Option A: shortcuts have no parameters. 0.27 M in table 6 of He et al.
    assert count(model) == 269_722
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 20


def test_the_other_resnets_are_those_of_the_paper() -> None:
    thin = build_model("resnet32", (3, 32, 32), 10, 0)
    # 0.46 M in table 6 of He et al.
    assert count(thin) == 464_154
    assert len([m for m in thin.modules() if isinstance(m, nn.Conv2d | nn.Linear)]) == 32
    # The published count for ImageNet.
    large = build_model("resnet18", (3, 224, 224), 1000, 0)
    assert count(large) == 11_689_512
    assert large(torch.zeros(1, 3, 65, 65)).shape == (1, 1000)
    small = build_model("resnet18", (3, 32, 32), 10, 0)
    assert small.conv.stride == (1, 1)
    assert small.blocks(small.conv(torch.zeros(1, 3, 32, 32))).shape == (1, 512, 4, 4)


def test_vit_reads_patches() -> None:
    model = build_model("vit", (3, 32, 32), 10, 0)
    assert model.positions.shape == (64, 128)
    assert 1.1e6 < count(model) < 1.3e6
    blocks = [block.linear1.weight for block in model.blocks.layers]
    assert not torch.equal(blocks[0], blocks[1])
    with pytest.raises(CimsimError, match="multiples of 4 pixels, not 30x32"):
        build_model("vit", (3, 30, 32), 10, 0)


def test_the_listener_hears_in_order() -> None:
    model = build_model("lstm", (1, 8, 12), 10, 0).eval()
    x = torch.randn(2, 1, 8, 12)
    assert not torch.allclose(model(x), model(x.flip(3)))


def test_a_resnet20_block_with_dead_convolutions_is_its_shortcut() -> None:
    """Every second pixel, and the new channels zero around the old ones."""
    block = build_model("resnet20", (3, 32, 32), 10, 0).blocks[3].eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 16, 8, 8)
    y = block(x)
    assert y.shape == (2, 32, 4, 4)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert torch.count_nonzero(y[:, :8]) == torch.count_nonzero(y[:, 24:]) == 0
