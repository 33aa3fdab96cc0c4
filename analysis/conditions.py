"""The conditions of a result as text: in the name of its files and in its heading.

A result is kept under a name that states in what its conditions differ from the usual ones: another
profile, noise, age, metric, or options of its study. So a result under other conditions does not
replace it. What only makes a result more precise, such as more chips, is not part of the name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimsim.units import parse_duration, typed_duration

if TYPE_CHECKING:
    from cimsim.analysis.study import Facts, Options

_LONGEST = 60
_HASH = 6
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=,+-]+")
_USUAL_METRICS = ("accuracy", "rmse")


def of_facts(facts: Facts, defaults: Mapping[str, Any]) -> Iterator[str]:
    """Yield in what ``facts`` differ from the usual ones, ``defaults`` of a study included."""
    if facts.on is not None:
        yield facts.on
    yield from facts.changes
    if facts.noise != defaults.get("noise", 1.0):
        yield f"noise={facts.noise:.10g}"
    if facts.age_s != parse_duration(defaults.get("age", "0s")):
        yield f"age={typed_duration(facts.age_s)}"
    if facts.metric not in (("perplexity",) if facts.token else _USUAL_METRICS):
        yield f"metric={facts.metric.partition(':')[0]}"  # without its direction
    if facts.samples is not None:
        yield f"samples={facts.samples}"


def of_options(options: Options) -> Iterator[str]:
    """Yield the options that differ from their defaults; those with ``in_name=False`` are left
    out."""
    for name, field in type(options).model_fields.items():
        extra, value = field.json_schema_extra, getattr(options, name)
        known = extra if isinstance(extra, dict) else {}
        if not known.get("in_name", True) or value == field.get_default() or value is None:
            continue
        values = [_text(each) for each in (value if isinstance(value, tuple) else (value,))]
        stated = all("=" in text for text in values) or name == "profile"
        flag = str(known.get("flag") or name).lstrip("-").replace("_", "-")
        if value is True:
            yield flag
        elif stated:
            yield from values
        else:
            yield f"{flag}={','.join(values)}"


def _text(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def of_runs(runs: Sequence[str]) -> Iterator[str]:
    """Yield the other subjects that a result is about, by the names of their folders."""
    if runs:
        yield "with=" + ",".join(Path(run).name for run in runs)


def file_suffix(conditions: Sequence[str]) -> str:
    """Return the part of a file's name that states ``conditions``; empty without any.

    Characters that some file system does not allow become ``-``. Then, or if the text is long, a
    hash distinguishes it from others.

    >>> file_suffix(["reram-wan-2022", "adc.bits=4"]), file_suffix(["noise=0:4:1"])
    ('_reram-wan-2022_adc.bits=4', '_noise=0-4-1-a0e4ca')
    """
    if not conditions:
        return ""
    whole = "_".join(conditions)
    safe = "_".join(_UNSAFE.sub("-", text).strip("-.") for text in conditions)
    if safe != whole or len(safe) > _LONGEST:
        short = safe if len(safe) <= _LONGEST else safe[: safe.rfind("_", 1, _LONGEST)]
        safe = f"{short[:_LONGEST]}-{hashlib.sha256(whole.encode()).hexdigest()[:_HASH]}"
    return f"_{safe}"
