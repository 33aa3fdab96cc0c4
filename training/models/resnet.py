"""The 20-layer residual network for CIFAR-10."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64)
BLOCKS_PER_WIDTH = 3


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, added to a shortcut without parameters.

    [N, inputs, H, W] to [N, outputs, H / stride, W / stride]. Where the shape changes, the
    shortcut takes every second pixel and fills the new channels with zeros (option A of the paper).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        return functional.pad(x, (0, 0, 0, 0, before, self.new_channels - before))


class ResNet20(nn.Module):
    """3x3 convolution, then three stages of three blocks of ``widths`` channels, mean, classifier.

    [N, C, H, W] to logits [N, classes]; 269,722 parameters for 3x32x32 images and ten classes.
    He-normal convolutions.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition",
    CVPR 2016, section 4.2 with n = 3.
    """

    def __init__(self, channels: int, classes: int, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        blocks: list[nn.Module] = []
        inputs = widths[0]
        for outputs in widths:
            for number in range(BLOCKS_PER_WIDTH):
                stride = 2 if number == 0 and outputs != widths[0] else 1
                blocks.append(ResidualBlock(inputs, outputs, stride))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.conv(x)))
        x = self.blocks(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def resnet20(input_shape: tuple[int, ...], classes: int) -> ResNet20:
    """A :class:`ResNet20` for images of ``input_shape`` (channels, height, width)."""
    return ResNet20(input_shape[0], classes)
