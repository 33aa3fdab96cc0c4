"""Published ResNets for CIFAR-10 on chips of phase-change memory, and one tuned for them.

    python -m benchmarks.cifar_resnets --weights DIR --data-dir DIR [--images 2000] [--chips 5]
        [--steps 400] [--tuned-depth 14] [--runs runs/cifar_resnets]

ResNet-14, 20, 32 and 56 with the weights that CrossSim ships, as safetensors
``resnet14.safetensors`` and so on. Batch norm is folded into the convolutions, and all layers are
on the chip. One of them is tuned: noise-aware with rule F, on a new chip at every step at an age up
to 30 days, with the labels and the digital model as teacher. It is then compared with the published
weights on ten chips after one day. Finished results are kept, so the same command resumes.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

import cimsim
from benchmarks.lines import versions
from cimsim import analysis
from cimsim.files import make_folder, replacing, write_text
from cimsim.seeds import generator
from cimsim.training.clipping import clip_weights
from cimsim.training.data.cifar10 import read_cifar10
from cimsim.training.models.resnet import ProjectedBlock, ThinResNet

RESULT = Path(__file__).parent / "results" / "cifar_resnets.md"
PROFILE = "pcm-ibm-2020"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEPTHS = (14, 20, 32, 56)
AXIS, DAY = analysis.parse_axis("time=0s,1d"), analysis.parse_axis("time=1d")
TUNED_CHIPS, MONTH_S = 10, 30 * 86_400.0
BATCH, LR, CLIP_SIGMA, SETTLE = 100, 5e-4, 2.5, 50


def load(path: Path, depth: int) -> ThinResNet:
    """Put published weights into cimsim's own ResNet, whose layers have other names."""
    n = (depth - 2) // 6
    model = ThinResNet(3, 10, n)
    model.norm.eps = 1e-3
    model.blocks[n], model.blocks[2 * n] = ProjectedBlock(16, 32, 2), ProjectedBlock(32, 64, 2)
    state = {}
    for name, tensor in load_file(path).items():
        name = re.sub(r"^(conv|bn)1", r"\1", name).replace("bn", "norm")
        name = re.sub(
            r"res(\d)\.(\d+)", lambda m: f"blocks.{(int(m[1]) - 1) * n + int(m[2])}", name
        )
        name = name.replace("downsample", "projection").replace("classifier.2", "classifier")
        state[name] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    lost = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lost or unexpected:
        raise SystemExit(f"{path} is not a ResNet-{depth}: {[*lost, *unexpected][0]}")
    return model.eval()


def folded(model: nn.Module) -> nn.Module:
    """Fold batch norm into the convolutions before it."""
    pairs = (("conv", "norm"), ("conv1", "norm1"), ("conv2", "norm2"), ("0", "1"))
    for module in list(model.modules()):
        for conv_name, norm_name in pairs:
            conv, norm = (getattr(module, name, None) for name in (conv_name, norm_name))
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return model


def ready(pixels: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    """Images as the networks take them."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (torch.from_numpy(pixels.copy()).float() / 255 - mean) / std


def tune(model: nn.Module, x: np.ndarray, y: Tensor, steps: int) -> nn.Module:  # type: ignore[type-arg]
    """Tune a copy of ``model`` for the chips of the profile."""
    student = cimsim.convert(model, PROFILE)
    clip_weights(student, CLIP_SIGMA)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.1)
    draws = generator("cifar resnets", "tuning", 0)
    order = torch.randperm(len(x), generator=draws).numpy()
    for step in range(steps):
        if step % SETTLE == 0:
            cimsim.calibrate(student, [ready(x[:500])])
        chosen = order[np.arange(step * BATCH, (step + 1) * BATCH) % len(order)]
        images, labels = ready(x[chosen]), y[chosen]
        mirrored = torch.rand(BATCH, generator=draws) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
        with torch.no_grad():
            goal = model(images).softmax(1)
        u = torch.rand((), generator=draws).item()
        cimsim.age(student.train(), math.expm1(u * math.log1p(MONTH_S)))
        logits = student(images)
        loss = F.cross_entropy(logits, labels) + F.cross_entropy(logits, goal)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        clip_weights(student, CLIP_SIGMA)
        if step % 20 == 19:
            print(f"tuning: step {step + 1}, loss {loss.item():.3f}", flush=True)
    cimsim.calibrate(student, [ready(x[:500])])
    return student.eval()


def tuned(given: argparse.Namespace, x: np.ndarray, y: Tensor) -> tuple[nn.Module, str]:  # type: ignore[type-arg]
    """The tuned network, from its file if there is one; and what tuning took."""
    depth = given.tuned_depth
    file = given.runs / f"resnet{depth}-tuned.safetensors"
    took = given.runs / f"resnet{depth}-tuned.txt"
    published = folded(load(given.weights / f"resnet{depth}.safetensors", depth))
    if file.is_file():
        model = cimsim.convert(published, PROFILE)
        model.load_state_dict(load_file(file), strict=False)
        return model.eval(), took.read_text()
    began = time.process_time()
    model = tune(published, x, y, given.steps)
    make_folder(given.runs)
    write_text(took, f"{(time.process_time() - began) / 60:.1f} min")
    with replacing(file) as temporary:
        state = {n: t.contiguous() for n, t in model.state_dict().items() if isinstance(t, Tensor)}
        save_file(state, str(temporary))
    return model, took.read_text()


def main() -> None:
    """Evaluate, tune, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="steps of 100 images to tune")
    parser.add_argument("--tuned-depth", type=int, default=14, choices=DEPTHS)
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar_resnets"))
    given = parser.parse_args()
    train, test = read_cifar10(given.data_dir, download=False)
    x, y = ready(test.pixels[: given.images]), torch.from_numpy(test.labels[: given.images])
    labels = torch.from_numpy(train.labels)
    calibration = ready(train.pixels[:500])

    def progress(done: int, total: int, doing: str) -> None:
        print(f"{doing}: {done}/{total}", flush=True)

    def swept(model: nn.Module, name: str, axis: analysis.Axis, chips: int) -> analysis.Sweep:
        folder = given.runs / name
        make_folder(folder)
        subject = analysis.ModelSubject(
            model,
            list(zip(x.split(250), y.split(250), strict=True)),
            name=name,
            folder=folder,
            data=f"the first {given.images} test images of CIFAR-10",
        )
        evaluation = analysis.Evaluation(chips=chips, progress=progress)
        return analysis.sweep([subject], axis, evaluation)[0]

    rows = []
    for depth in DEPTHS:
        network = folded(load(given.weights / f"resnet{depth}.safetensors", depth))
        chip = cimsim.calibrate(cimsim.convert(network, PROFILE), [calibration])
        rows.append(row(f"ResNet-{depth}", swept(chip, f"resnet{depth}", AXIS, given.chips)))
        if depth == given.tuned_depth:
            before = swept(chip, f"resnet{depth}-before", DAY, TUNED_CHIPS)
    after_model, took = tuned(given, train.pixels, labels)
    after = swept(after_model, f"resnet{given.tuned_depth}-after", DAY, TUNED_CHIPS)
    epochs = given.steps * BATCH / len(train.labels)
    lines = [
        "# Published ResNets for CIFAR-10 on chips of phase-change memory",
        "",
        f"    python -m benchmarks.cifar_resnets --weights DIR --data-dir DIR --images "
        f"{given.images} --chips {given.chips} --steps {given.steps} "
        f"--tuned-depth {given.tuned_depth}",
        "",
        f"The networks have CrossSim's weights and run on `{PROFILE}`. Batch norm is folded into "
        "the convolutions, all layers are on the chip, and the converters are calibrated on 500 "
        f"training images. The tables show the accuracy in % on the first {given.images:,} test "
        "images: digital, and mean over chips (seeds from 0) ± standard error of the mean (worst "
        "chip).",
        "",
        f"Without tuning, on {given.chips} chips:",
        "",
        "| network | digital | just programmed | after one day |",
        "|---|---|---|---|",
        *rows,
        "",
        f"ResNet-{given.tuned_depth} on {TUNED_CHIPS} chips after one day, before and after "
        f"tuning. Tuning takes {given.steps} steps of {BATCH} images ({epochs:.1f} epochs, "
        "mirrored at random) with seed 0, rule F, and AdamW with a learning rate of up to "
        f"{LR:g}. Weights are clipped at {CLIP_SIGMA:g} times the RMS of their column, and every "
        f"step uses a new chip with an age of up to 30 days. Tuning took {took} of CPU time on "
        "one core.",
        "",
        "| weights | digital | after one day |",
        "|---|---|---|",
        row("published", before),
        row("tuned", after),
        "",
        versions(),
        "",
    ]
    write_text(RESULT, "\n".join(lines))
    print("\n".join(lines))


def row(name: str, swept: analysis.Sweep) -> str:
    """Digital accuracy, and mean, error and worst chip at each age."""
    return f"| {name} | {100 * swept.plan.digital:.2f} | {' | '.join(cells(swept))} |"


def cells(swept: analysis.Sweep) -> Sequence[str]:
    """The cells of the ages."""
    found = [analysis.summary(level, values) for level, values in swept.values().items()]
    return [
        f"{100 * of.mean:.2f} ± {100 * of.standard_error:.2f} ({100 * of.worst:.2f})"
        for of in found
    ]


if __name__ == "__main__":
    main()
