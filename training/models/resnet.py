"""Residual networks: thin ones for CIFAR-10, and ResNet-18 for larger images."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization, added to a shortcut without parameters.

    Maps [N, inputs, H, W] to [N, outputs, H / stride, W / stride]. If the shape changes, the
    shortcut takes every second pixel and fills the new channels with zeros (option A of the paper).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        out: Tensor = self.relu(y + self._shortcut(x))
        return out

    def _shortcut(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        return functional.pad(x, (0, 0, 0, 0, before, self.new_channels - before))


class ThinResNet(nn.Module):
    """3x3 convolution, three stages of n blocks of ``widths`` channels, mean, classifier.

    Maps [N, C, H, W] to logits [N, classes]. It has ``6 n + 2`` layers: n = 3 and 269,722
    parameters in ResNet-20, n = 5 in ResNet-32 (3x32x32 images, ten classes). Convolutions are
    He-normal.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition",
    CVPR 2016, section 4.2.
    """

    def __init__(
        self, channels: int, classes: int, n: int, widths: tuple[int, int, int] = WIDTHS
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        blocks: list[nn.Module] = []
        inputs = widths[0]
        for outputs in widths:
            for number in range(n):
                stride = 2 if number == 0 and outputs != widths[0] else 1
                blocks.append(ResidualBlock(inputs, outputs, stride))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inputs, classes)
        _he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        x = self.blocks(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


class ProjectedBlock(ResidualBlock):
    """A :class:`ResidualBlock` whose shortcut is a 1x1 convolution if the shape changes.

    This is option B of the paper.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.projection: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.projection = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def _shortcut(self, x: Tensor) -> Tensor:
        y: Tensor = self.projection(x)
        return y


class ResNet18(nn.Module):
    """ResNet-18: four stages of two blocks of 64 to 512 channels, mean, classifier.

    Maps [N, C, H, W] to logits [N, classes]. For images larger than 64 pixels, the first layers are
    those of the paper, a 7x7 convolution of stride 2 and 3x3 max-pooling (11,689,512 parameters for
    3 channels and 1000 classes); for smaller images, a 3x3 convolution. Convolutions are He-normal.

    Source: K. He, X. Zhang, S. Ren, J. Sun, CVPR 2016, table 1.
    """

    def __init__(self, channels: int, classes: int, large: bool) -> None:
        super().__init__()
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv = nn.Conv2d(channels, 64, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        blocks: list[nn.Module] = []
        inputs = 64
        for outputs in (64, 128, 256, 512):
            blocks.append(ProjectedBlock(inputs, outputs, 1 if outputs == 64 else 2))
            blocks.append(ProjectedBlock(outputs, outputs, 1))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(512, classes)
        _he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.conv(x))))
        x = self.blocks(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def _he_normal(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet20(input_shape: tuple[int, ...], classes: int) -> ThinResNet:
    """Build a 20-layer :class:`ThinResNet` for ``input_shape`` (channels, height, width)."""
    return ThinResNet(input_shape[0], classes, n=3)


def resnet32(input_shape: tuple[int, ...], classes: int) -> ThinResNet:
    """Build a 32-layer :class:`ThinResNet` for ``input_shape`` (channels, height, width)."""
    return ThinResNet(input_shape[0], classes, n=5)


def resnet18(input_shape: tuple[int, ...], classes: int) -> ResNet18:
    """Build a :class:`ResNet18` for ``input_shape`` (channels, height, width)."""
    return ResNet18(input_shape[0], classes, large=min(input_shape[1:]) > 64)
