"""Saving and loading of converted Hugging Face models.

``save_pretrained`` of a converted model is extended on the instance, and no class of
``transformers`` is changed. ``transformers`` is not required: a model of it has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.files import make_folder, read_file
from cimsim.nn.adapters import has_adapters
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.settings_file import SETTINGS, write_settings
from cimsim.nn.weights_file import read_tensors
from cimsim.reading import parse_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_METHOD = "save_pretrained"


class SavePretrained:
    """``save_pretrained`` of a converted model, which also writes ``cimsim.json``."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """Save the model as ``transformers`` does, with profiles, rules and chip next to it.

        Raises:
            CimsimError: if the model has PEFT adapters, or the folder cannot be written.
        """
        model = self.model
        original = getattr(type(model), _METHOD)
        analog = any(isinstance(module, AnalogLayer) for module in model.modules())
        if not analog or getattr(model, "_hf_peft_config_loaded", False):  # saves adapters alone
            return original(model, save_directory, *args, **kwargs)
        if has_adapters(model):
            raise CimsimError(
                f"this {type(model).__name__} has PEFT adapters, which rename its weights, so "
                "from_pretrained could not load them; save the adapters with "
                "peft_model.save_pretrained, or everything with cimsim.save(peft_model, folder)"
            )
        # Names as in the model; transformers also accepts these.
        kwargs.setdefault("save_original_format", False)
        if not (args[0] if args else kwargs.get("is_main_process", True)):
            return original(model, save_directory, *args, **kwargs)
        folder = Path(save_directory)
        make_folder(folder)
        write_settings(model, folder)  # first, because push_to_hub uploads what it finds
        try:
            return original(model, save_directory, *args, **kwargs)
        except BaseException:
            with suppress(OSError):
                (folder / SETTINGS).unlink()
            raise


def is_pretrained(module: nn.Module) -> bool:
    """Whether ``module`` is a ``PreTrainedModel`` of ``transformers``."""
    kind = getattr(sys.modules.get("transformers.modeling_utils"), "PreTrainedModel", None)
    return kind is not None and isinstance(module, kind)


def hook_save_pretrained(model: nn.Module) -> None:
    """Extend ``save_pretrained`` of every Hugging Face model in ``model``."""
    for module in model.modules():
        if is_pretrained(module):
            setattr(module, _METHOD, SavePretrained(module))


def unhook_save_pretrained(model: nn.Module) -> None:
    """Undo :func:`hook_save_pretrained`."""
    for module in model.modules():
        if isinstance(vars(module).get(_METHOD), SavePretrained):
            delattr(module, _METHOD)


def digital_model(folder: Path) -> nn.Module:
    """The Hugging Face model that was saved in ``folder``, of the class that its configuration
    names, before it is converted.

    Raises:
        CimsimError: if ``folder`` has no configuration, its class is not part of ``transformers``,
            or ``transformers`` is not installed or cannot load it.
    """
    config = folder / "config.json"
    if not config.exists():
        raise CimsimError(
            f"{folder} has no config.json, so it contains no Hugging Face model; build the digital "
            "model, and pass it: cimsim.load(folder, model)"
        )
    try:
        content = parse_json(read_file(config))
        name = content["architectures"][0]
    except (ValueError, LookupError, TypeError):
        raise CimsimError(f"{config} is damaged: 'architectures' contains no class") from None
    try:
        import transformers
    except ImportError:
        raise CimsimError(
            f"{folder} contains a Hugging Face model; install transformers: "
            "pip install 'transformers>=5'"
        ) from None
    kind = getattr(transformers, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise CimsimError(
            f"{config}: transformers {transformers.__version__} has no model '{name}'; build the "
            "digital model, and pass it: cimsim.load(folder, model)"
        )
    try:
        with _quiet():
            loaded: nn.Module = kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many kinds
        reason = str(error).strip().partition("\n")[0]
        raise CimsimError(f"{folder}: transformers cannot load its {name}: {reason}") from None
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the report of transformers that ranges are unexpected, and its progress bars."""
    from transformers.utils import logging as module

    logging: Any = module  # without annotations
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of ``model.safetensors``, or of its shards.

    Raises:
        CimsimError: if a file is missing or damaged.
    """
    index = folder / INDEX
    if (folder / WEIGHTS).exists() or not index.exists():
        return read_tensors(folder / WEIGHTS)
    try:
        shards = set(parse_json(read_file(index))["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError):
        raise CimsimError(f"{index} is damaged: it has no map of weights") from None
    state: dict[str, Tensor] = {}
    for shard in sorted(shards, key=str):
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CimsimError(f"{index} is damaged: '{shard}' is not the name of a file")
        state.update(read_tensors(folder / shard))
    return state
