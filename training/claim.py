"""Reserve a folder for a run: one process at a time, and never the folder of another run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.profile import dump_profile, fingerprint
from cimsim.training.config import TrainConfig, dump_config, read_config
from cimsim.training.environment import environment
from cimsim.training.files import PART, locked, make_folder, remove_leftovers, write_text
from cimsim.training.manifest import SUMS, hash_of, read_sums, write_sums
from cimsim.training.plan import PLACES, TrainingPlan
from cimsim.training.records import ENV, RESULT
from cimsim.training.run import CONFIG, LAYER, LOCK, PROFILE, read_layers, read_profile


@contextmanager
def claim(out: Path, plan: TrainingPlan, resume: bool) -> Iterator[None]:
    """Within the context, hold the lock of the folder ``out``, which then holds the run ``plan``.

    The lock is taken before anything is read or written that another process may be writing.

    Raises:
        CimsimError: if ``out`` is no folder, holds a run (unless ``resume``) or another run than
            ``plan``, or if another process holds its lock.
    """
    _refuse_folder(out, resume)
    if (out / RESULT).is_file() and not _places_changed(out, plan):
        yield  # the run is finished: there is nothing to write
        return
    make_folder(out)
    refusal = f"another process is training in {out}; wait until it ends, or stop it"
    with locked(out / LOCK, refusal):
        _refuse_folder(out, resume)  # another process may have trained there in the meantime
        remove_leftovers(out)
        if not (out / CONFIG).is_file():
            _begin(out, plan)
        elif _places_changed(out, plan):
            _update_places(out, plan.config)
        yield


def _refuse_folder(out: Path, resume: bool) -> None:
    if (out / CONFIG).is_file():
        if not resume:
            raise CimsimError(
                f"{out} already holds a run; add --resume to go on with it, or choose another --out"
            )
    elif out.exists() and not (out.is_dir() and _is_just_begun(out)):
        raise CimsimError(f"{out} exists and is not a run; choose another --out")


def _is_just_begun(out: Path) -> bool:
    """Whether the folder is empty, or was left by a process that was killed as it claimed it."""
    names = {path.name for path in out.iterdir() if path.suffix != PART}
    known = (PROFILE, ENV, SUMS, LOCK)
    return all(name in known or fnmatch(name, LAYER.format("*")) for name in names)


def _begin(out: Path, plan: TrainingPlan) -> None:
    """Write what decides the run; ``config.yaml`` comes last and makes the folder a run."""
    files = {PROFILE: dump_profile(plan.profile), ENV: json.dumps(environment(), indent=2) + "\n"}
    for name, profile in plan.layer_profiles().items():
        files[name] = dump_profile(profile)
    for name, text in files.items():
        write_text(out / name, text)
    files[CONFIG] = dump_config(plan.config)
    write_sums(out, {name: [hash_of(text)] for name, text in files.items()})
    write_text(out / CONFIG, files[CONFIG])


def _update_places(out: Path, config: TrainConfig) -> None:
    """Write the new places of profile and data into the run's settings."""
    text, sums = dump_config(config), read_sums(out)
    if sums:  # both hashes, so that one is right whenever this process is killed
        write_sums(out, sums | {CONFIG: [*sums.get(CONFIG, []), hash_of(text)]})
    write_text(out / CONFIG, text)
    if sums:
        write_sums(out, sums | {CONFIG: [hash_of(text)]})


def _places_changed(out: Path, plan: TrainingPlan) -> bool:
    """Return whether profile or data have another place than in the run in ``out``.

    Raises:
        CimsimError: if ``plan`` differs from that run in anything else.
    """
    config, before = plan.config, read_config(out / CONFIG)
    changed = [f for f in type(config).model_fields if getattr(before, f) != getattr(config, f)]
    fields = [f for f in changed if f not in PLACES]
    if fields:
        changes = ", ".join(f"{f} was {getattr(before, f)}" for f in fields)
        raise CimsimError(f"cannot resume {out} with other settings: {changes}")
    if fingerprint(read_profile(out / PROFILE)) != fingerprint(plan.profile):
        raise CimsimError(
            f"cannot resume {out}: the profile '{config.profile}' has changed since it began"
        )
    if read_layers(out, before) != plan.layers:
        raise CimsimError(
            f"cannot resume {out}: other settings of layers, or their profiles have changed; "
            f"layer was {before.layer}"
        )
    return bool(changed)
