"""What every test may use."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# Triton looks at this when torch imports it: without a GPU its kernels are interpreted.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The names of graphs in torch's cache on disk do not contain this setting, so that torch would load
# graphs for instructions that the setting turns off, and fail.
if capability := os.environ.get("ATEN_CPU_CAPABILITY"):
    own_cache = f"torchinductor_{getpass.getuser()}_{capability}"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir(), own_cache)))

import hypothesis
import pytest
import torch

from cimsim.training.data import DataSet, load_data
from cimsim.training.data.cifar10 import CIFAR10
from cimsim.training.data.mnist import FASHION_MNIST, MNIST

# The same examples in every run, and no failure because the machine is busy.
hypothesis.settings.register_profile("cimsim", derandomize=True, deadline=None)
hypothesis.settings.load_profile("cimsim")

# The tensors of tests are small; more threads only wait for each other.
torch.set_num_threads(1)


class TorchRandom:
    """torch's global generator, as Hypothesis seeds those of Python and NumPy for every example."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


TORCH_RANDOM = TorchRandom()  # Hypothesis keeps a weak reference only.
hypothesis.register_random(TORCH_RANDOM)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws the same numbers, alone and after any other."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], DataSet]:
    """Loads a published data set from $CIMSIM_DATA, or skips the test if it is not there."""
    layouts = {layout.name: layout for layout in (MNIST, FASHION_MNIST, CIFAR10)}

    def load(name: str) -> DataSet:
        folder = os.environ.get("CIMSIM_DATA")
        if not folder:
            pytest.skip("needs the published data sets: $CIMSIM_DATA is not set")
        if not any((Path(folder) / place).is_dir() for place in layouts[name].folders[:-1]):
            pytest.skip(f"no {name} in $CIMSIM_DATA ({folder})")
        return load_data(name)

    return load
