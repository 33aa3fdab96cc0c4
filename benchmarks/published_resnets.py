"""Published networks on chips that others have simulated.

    python -m benchmarks.published_resnets --weights DIR --data-dir DIR [--images 5000] [--chips 5]
        [--device cuda]

The ResNets that CrossSim ships for CIFAR-10, as safetensors ``resnet14.safetensors`` and so on:
batch norm is folded into the convolutions, weights and converters have 8 bits, a layer shares one
digital scale and tiles have 576 rows, as in its tutorial (ISCA 2024). The table of the tutorial has
one chip of each device; this benchmark computes the mean over several chips. The last rows show the
effect of 1/f noise that is constant during an evaluation, and of 1/f noise that is new for every
vector.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import cimsim
from benchmarks.lines import versions
from cimsim.files import write_text
from cimsim.training.data.cifar10 import CIFAR10, read_cifar10

RESULT = Path(__file__).parent / "results" / "published_resnets.md"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AS_PUBLISHED = {"array.weight_scale": "layer", "array.rows": 576, "dac.bits": 8, "adc.bits": 8}
PCM_1_OVER_F = {
    "cell.programming_noise.0.strength": 0,
    "cell.drift.0.strength": 0,
    "array.drift_compensation": "none",
}
DAY_S = 86400.0
# Depth, device, overrides, age in s, published accuracy in % (one draw), where from.
ROWS = (
    (14, "reram-milo-2021", AS_PUBLISHED, 0.0, 64.48),
    (14, "reram-milo-2021", {**AS_PUBLISHED, "array.weight_scale": "column"}, 0.0, None),
    (14, "sonos-agrawal-2022", AS_PUBLISHED, 0.0, 88.86),
    (20, "pcm-ibm-2020", PCM_1_OVER_F, DAY_S, None),
    (20, "pcm-ibm-2020", {**PCM_1_OVER_F, "cell.read_noise.0.t_session_s": 1e9}, DAY_S, None),
)


class Block(nn.Module):
    """Two convolutions and a path that skips them."""

    def __init__(self, width: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            convolution = nn.Conv2d(width, planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        y = self.bn1(self.conv1(x)).relu()
        sum_: Tensor = self.bn2(self.conv2(y)) + self.downsample(x)
        return sum_.relu()


class ResNet(nn.Module):
    """The published network of ``depth`` layers."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16, eps=1e-3)
        width, groups = 16, []
        for planes in (16, 32, 64):
            blocks = []
            for number in range((depth - 2) // 6):
                blocks.append(Block(width, planes, 2 if planes > 16 and number == 0 else 1))
                width = planes
            groups.append(nn.Sequential(*blocks))
        self.res1, self.res2, self.res3 = groups
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.bn1(self.conv1(x)).relu()
        y: Tensor = self.classifier(self.res3(self.res2(self.res1(x))))
        return y


def with_norms(depth: int, weights: Path) -> ResNet:
    """The network with its weights, as it was trained."""
    model = ResNet(depth)
    state = load_file(weights / f"resnet{depth}.safetensors")
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    return model.eval()


def load(depth: int, weights: Path) -> ResNet:
    """The network with its weights, batch norm folded into the convolutions."""
    model = with_norms(depth, weights)
    for module in model.modules():
        pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("0", "1")]
        for convolution, norm in pairs:
            conv, bn = getattr(module, convolution, None), getattr(module, norm, None)
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                setattr(module, convolution, fuse_conv_bn_eval(conv, bn))
                setattr(module, norm, nn.Identity())
    return model


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """In %."""
    batches = zip(x.split(250), y.split(250), strict=True)
    correct = sum(int((model(a).argmax(1) == b).sum()) for a, b in batches)
    return 100 * correct / len(y)


def main() -> None:
    """Evaluate, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    train, test = read_cifar10(given.data_dir, download=False)
    assert CIFAR10.name == "cifar10"

    def ready(pixels: np.ndarray) -> Tensor:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return ((torch.from_numpy(pixels.copy()).float() / 255 - mean) / std).to(given.device)

    x = ready(test.pixels[: given.images])
    y = torch.from_numpy(test.labels[: given.images]).to(given.device)
    calibration = ready(train.pixels[:500])
    lines = [
        "# Published ResNets on published chips",
        "",
        f"    python -m benchmarks.published_resnets --weights DIR --data-dir DIR --images "
        f"{given.images} --chips {given.chips} --device {given.device}",
        "",
        f"The table shows the accuracy in % on the first {given.images} test images of CIFAR-10 "
        f"and {given.chips} chips: mean ± standard error of the mean, standard deviation over "
        "chips, and worst and best chip. Each published number comes from one chip (CrossSim's "
        "tutorial, ISCA 2024).",
        "",
        "| network | profile | digital | mean | standard deviation | worst to best | published |",
        "|---|---|---|---|---|---|---|",
    ]
    digital: dict[int, float] = {}
    for depth, name, overrides, age_s, published in ROWS:
        if depth not in digital:
            digital[depth] = accuracy(load(depth, given.weights).to(given.device), x, y)
        model = cimsim.convert(load(depth, given.weights), cimsim.load_profile(name, overrides))
        model.to(given.device)
        cimsim.calibrate(model, [calibration])
        found = []
        for chip in range(given.chips):
            cimsim.age(cimsim.program(model.eval(), chip), age_s)
            found.append(accuracy(model, x, y))
        mean, spread = float(np.mean(found)), float(np.std(found, ddof=1))
        changed = " ".join(f"{key}={value}" for key, value in overrides.items())
        when = " after a day" if age_s else ""
        lines.append(
            f"| ResNet-{depth} | `{name}`, {changed}{when} | {digital[depth]:.2f} "
            f"| {mean:.2f} ± {spread / math.sqrt(len(found)):.2f} | {spread:.2f} "
            f"| {min(found):.2f} to {max(found):.2f} | {'' if published is None else published} |"
        )
        print(lines[-1], flush=True)
    where = torch.cuda.get_device_name(given.device) if given.device.type == "cuda" else "CPU"
    write_text(given.out, "\n".join([*lines, "", f"{where}; {versions()}", ""]))


if __name__ == "__main__":
    main()
