"""The Triton kernels compile for GPUs, on machines that have none.

The interpreter runs the kernels as Python and accepts what the compiler refuses. Here a child
process, in which Triton does not interpret, takes training and evaluation steps on the kernels;
they are compiled for a GPU that is named and not launched.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

STEPS = """
import sys, warnings
import torch
from torch import nn
from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit

backend, arch, warp = sys.argv[1:]

class NamedGpu:
    def get_current_target(self):
        return GPUTarget(backend, int(arch) if arch.isdigit() else arch, int(warp))
    def get_current_device(self):
        return 0
    def get_current_stream(self, device=None):
        return 0
    def get_active_torch_device(self):
        return torch.device("cpu")

driver.set_active(NamedGpu())
compiled, run = set(), jit.JITFunction.run

def compile_only(self, *args, grid, warmup, **options):
    compiled.add(self.fn.__name__)
    return run(self, *args, grid=grid, warmup=True, **options)

jit.JITFunction.run = compile_only

import cimsim
from cimsim import kernels
from cimsim.kernels import cuda, cuda_cells, cuda_random

kernels._serving = lambda *tensors: cuda
for name in ("generic-gaussian", "pcm-ibm-2020"):
    for model, x in (
        (nn.Linear(70, 13), torch.randn(5, 70)),
        (nn.Linear(64, 16), torch.randn(16, 64)),
        (nn.Conv2d(6, 5, 3), torch.randn(2, 6, 5, 7)),
    ):
        profile = cimsim.load_profile(name, {"array.rows": 40, "adc.range_per": "column"})
        with kernels.use("torch"):
            analog = cimsim.calibrate(cimsim.convert(model, profile), [x])
        analog(x.requires_grad_()).sum().backward()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            analog(x.detach().bfloat16().requires_grad_()).float().sum().backward()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            cimsim.program(analog.eval(), 1)(x)
cuda.normal(torch.empty(1000), 1)
cuda.fingerprint(torch.empty(1000))
all_names = {**vars(cuda), **vars(cuda_cells), **vars(cuda_random)}
of_module = {n for n, f in all_names.items() if isinstance(f, jit.JITFunction)}
launched = {n for n in of_module if n in compiled}
print(sorted(of_module - launched))
"""
INLINED = [
    *("_between", "_bounded", "_changed", "_clamped", "_curve", "_drawn", "_four", "_inside"),
    "_largest",
    *("_lines_of", "_log", "_noise", "_of_columns", "_pair", "_polynomial", "_positive"),
    *("_programmed", "_rounded", "_simple_curve", "_spread", "_two", "eights_from"),
    *("normals_at", "normals_from"),
]


@pytest.mark.long
@pytest.mark.parametrize("target", ["cuda 90 32", "cuda 80 32", "hip gfx942 64"])
def test_steps_compile(target: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    child = subprocess.run(
        [sys.executable, "-c", STEPS, *target.split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    assert child.stdout.strip() == str(INLINED)
