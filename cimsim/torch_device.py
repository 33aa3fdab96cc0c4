"""Selection of the torch device."""

from __future__ import annotations

import torch

from cimsim.errors import CimsimError


def working_device(name: str) -> str:
    """Return the torch device of that name; ``auto`` is CUDA if available, else the CPU.

    Raises:
        CimsimError: if the device is not available.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        known = torch.empty(0, device=name).device.type in ("cpu", "cuda")
        reason = "cimsim does not support it"
    except (RuntimeError, AssertionError) as error:
        known, reason = False, str(error).splitlines()[0]
    if not known:
        raise CimsimError(
            f"device '{name}' is not available ({reason}); choose cpu, cuda, cuda:N or auto"
        )
    return name
