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


def emulates_bfloat16(device: str) -> bool:
    """Return whether ``device`` is an x86 processor that computes bfloat16 in other instructions.

    False for other devices, and if torch is too old to report the instructions.
    """
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # from torch 2.10
    present: dict[str, object] = capabilities() if torch.device(device).type == "cpu" else {}
    native = [present[key] for key in ("avx512_bf16", "amx_bf16") if key in present]
    return bool(native) and not any(native)
