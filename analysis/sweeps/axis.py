"""Axes of sweeps: ``noise=0:2:0.25``, ``time=1s,1h,1y``, ``adc.bits=ideal,8,6`` or any key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from cimsim.errors import CimsimError
from cimsim.seeds import cycle_number
from cimsim.suggest import UNITS, nearest, shortened
from cimsim.units import format_duration, parse_duration, typed_duration

if TYPE_CHECKING:
    from cimsim.adaptation.recipe import Recipe
    from cimsim.nn import Assignment
    from cimsim.profile import Profile

Level: TypeAlias = float | int | str | None
"""One value of an axis; ``None`` is written ``ideal`` (a converter without rounding)."""

IDEAL = "ideal"
EXAMPLES = "noise=0:2:0.25, time=1s,1h,1d,1y or adc.bits=ideal,8,6,4"
MAX_LEVELS = 1000

_NAMES = {
    "noise": ("Noise", "multiple of the profile's"),
    "time": ("Time since programming", ""),
    "adc.bits": ("ADC resolution", "bits"),
    "dac.bits": ("DAC resolution", "bits"),
    "temperature_C": ("Temperature", "°C"),
    "cycle": ("Write cycle", ""),
}
_KEY = re.compile(r"\w[\w-]*(\.\w[\w-]*)*", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Axis:
    """One quantity and the levels it takes.

    Attributes:
        key: ``noise`` (factor on every random effect of the profile), ``time`` (age of the chip in
            seconds), ``cycle`` (how often the chip was written before) or a dotted key of the
            profile such as ``adc.bits``.
        values: the levels in their order, without repetitions.
    """

    key: str
    values: tuple[Level, ...]

    @property
    def label(self) -> str:
        """The quantity in words, without its unit."""
        if self.key in _NAMES:
            return _NAMES[self.key][0]
        return self.key.removesuffix(f"_{self._suffix}") if self._suffix else self.key

    @property
    def unit(self) -> str:
        """The unit as it is printed; empty where the quantity has none."""
        return _NAMES[self.key][1] if self.key in _NAMES else UNITS.get(self._suffix, "")

    @property
    def title(self) -> str:
        """Label and unit of the axis in a figure."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def _suffix(self) -> str:
        suffix = self.key.rpartition("_")[2]
        return suffix if suffix in UNITS and suffix != self.key else ""

    def format(self, level: Level) -> str:
        """Format one level for people: ``1 h``, ``ideal``, ``0.25``."""
        if level is None:
            return IDEAL
        if self.key == "time":
            return format_duration(float(level))
        return f"{level:.6g}" if isinstance(level, float) else str(level)

    def cli_text(self, level: Level) -> str:
        """One level as text that is read back as the same number."""
        if self.key == "time":
            return typed_duration(float(level or 0.0))
        short = self.format(level)
        return repr(level) if isinstance(level, float) and float(short) != level else short

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The profile at one level.

        Raises:
            CimsimError: if the profile has no such key or rejects the value.
        """
        if self.key == "time":
            return profile
        if self.key == "cycle":
            cycle_number(level)
            return profile
        if self.key == "noise":
            return profile.scale_noise(float(level or 0.0))
        from cimsim.profile import ProfileError, override_profile

        try:
            return override_profile(profile, {self.key: level})
        except ProfileError as error:
            issues = "; ".join(issue.message for issue in error.issues)
            raise CimsimError(f"{self.key}={self.format(level)}: {issues}") from None

    def assign(self, assignment: Assignment, level: Level) -> Assignment:
        """The profiles of a model's layers at one level: each one as :meth:`apply` makes it.

        Raises:
            CimsimError: as :meth:`apply`; it names the layer.
        """
        return assignment.map(lambda profile: self.apply(profile, level))

    def age_s(self, level: Level) -> float | None:
        """The age at which the chip is read, or ``None`` where the axis is not time."""
        return float(level or 0.0) if self.key == "time" else None

    def cycle(self, level: Level) -> int:
        """The number of writes of the chip before the evaluated one."""
        return cycle_number(level) if self.key == "cycle" else 0

    def adaptation(self, level: Level) -> Recipe | None:
        """The adaptation to each aged chip before it is evaluated, see :func:`cimsim.adapt`."""
        return None

    @property
    def counts_cost(self) -> bool:
        """Whether the scores of a trial contain the cost of its adaptation."""
        return False

    def named(self, level: Level) -> str:
        """Quantity and level: ``noise=0.5``."""
        return f"{self.key}={self.format(level)}"


@dataclass(frozen=True)
class VariantsAxis(Axis):
    """An axis whose levels are variants with names of their own; its key names only the trials."""

    def named(self, level: Level) -> str:
        """The name of the variant."""
        return str(level)


def is_quantity(key: str) -> bool:
    """Whether ``key`` names an axis that results can be drawn over, and not the trials of a study.

    >>> is_quantity("noise"), is_quantity("adc.bits"), is_quantity("maps/noise-by-adc.bits")
    (True, True, False)
    """
    head = key.partition("/")[0]
    return head in _NAMES or "." in head


def format_axis(axis: Axis) -> str:
    """The axis as :func:`parse_axis` reads it.

    >>> format_axis(parse_axis("noise=0:1:0.5"))
    'noise=0,0.5,1'
    """
    return f"{axis.key}={','.join(map(axis.cli_text, axis.values))}"


def parse_axis(over: str | Mapping[str, Iterable[Level]]) -> Axis:
    """The axis written as ``name=start:stop:step`` (inclusive) or ``name=level,level,…``, or given
    as ``{name: levels}``, where times may be numbers of seconds.

    Raises:
        CimsimError: if the text is not an axis, or its levels are invalid.

    >>> parse_axis("noise=0:1:0.5").values
    (0.0, 0.5, 1.0)
    >>> parse_axis("adc.bits=ideal,8,6").values
    (None, 8, 6)
    >>> parse_axis("time=1s,1h").values
    (1.0, 3600.0)
    >>> parse_axis({"time": [1, "1h"]}).values
    (1.0, 3600.0)
    """
    text = axis_text(over)
    key, equals, levels = (part.strip() for part in text.partition("="))
    if not equals:
        raise CimsimError(f"'{text}' has no levels; write NAME=LEVELS, such as {EXAMPLES}")
    _check_key(key, text)
    read = _READERS.get(key, _scalar)
    try:
        values = _range(levels, read) if ":" in levels else _listed(levels, read)
        if key == "noise":
            _check_noise(values)
        if key == "cycle":
            values = [cycle_number(value) for value in values]
    except CimsimError as error:
        raise CimsimError(f"'{text}': {error}") from None
    return Axis(key, tuple(dict.fromkeys(values)))


def axis_text(over: Any) -> str:
    """Return ``{name: levels}`` as text; a text stays the same.

    Raises:
        CimsimError: if ``over`` is neither.

    >>> axis_text({"adc.bits": [None, 8]})
    'adc.bits=ideal,8'
    """
    if isinstance(over, str):
        return over
    items = list(over.items()) if isinstance(over, Mapping) else []
    if len(items) != 1 or isinstance(items[0][1], str) or not isinstance(items[0][1], Iterable):
        raise CimsimError(
            f"an axis is NAME=LEVELS or one name with its levels, such as {EXAMPLES} or "
            f"{{'noise': [0, 1, 2]}} (got {shortened(repr(over))})"
        )
    ((key, levels),) = items
    return f"{key}={','.join(_level_text(key, level) for level in levels)}"


def _level_text(key: str, level: object) -> str:
    if level is None:
        return IDEAL
    level = level.item() if hasattr(level, "item") else level  # of NumPy and torch
    seconds = key == "time" and isinstance(level, int | float)
    return f"{level}s" if seconds else str(level)


def _check_key(key: str, text: str) -> None:
    if key in _NAMES or ("." in key and _KEY.fullmatch(key)):
        return
    near = nearest(key, _NAMES)
    hint = f"did you mean '{near}'?" if near else f"write NAME=LEVELS, such as {EXAMPLES}"
    raise CimsimError(
        f"'{text}': '{key}' is neither noise, time, cycle nor a dotted key of the profile; {hint}"
    )


def _check_noise(factors: list[Level]) -> None:
    for factor in factors:
        if float(factor or 0) < 0:
            raise CimsimError(f"a noise factor cannot be negative (got {factor})")


def _listed(levels: str, read: Callable[[str], Level]) -> list[Level]:
    words = [word.strip() for word in levels.split(",")]
    if not all(words):
        raise CimsimError("a level is empty; separate levels by single commas, such as 0,1,2")
    return [read(word) for word in words]


def _range(levels: str, read: Callable[[str], Level]) -> list[Level]:
    words = [word.strip() for word in levels.split(":")]
    if len(words) != 3 or not all(words):
        raise CimsimError("a range is start:stop:step, such as 0:2:0.25")
    numbers = [read(word) for word in words]
    if any(isinstance(number, str) or number is None for number in numbers):
        raise CimsimError("a range needs three numbers, such as 0:2:0.25")
    start, stop, step = (float(number or 0) for number in numbers)
    if step == 0:
        raise CimsimError("the step of a range must not be 0")
    if (stop - start) * step < 0:
        raise CimsimError(f"the step {words[2]} leads away from {words[1]}; change its sign")
    steps = (stop - start) / step
    if steps >= MAX_LEVELS:
        raise CimsimError(f"the range has more than {MAX_LEVELS} levels; use a larger step")
    # Twelve digits drop rounding errors of the sum, so that 0:1:0.1 contains 0.3 and ends with 1.
    values = [float(f"{start + i * step:.12g}") for i in range(math.floor(steps + 1e-9) + 1)]
    whole = all(isinstance(number, int) for number in numbers)
    return [int(value) for value in values] if whole else list(values)


def _number(word: str) -> float:
    number = float(word) if _NUMBER.fullmatch(word) else math.nan
    if not math.isfinite(number):
        raise CimsimError(f"'{word}' is not a number")
    return number


def _bits(word: str) -> int | None:
    if word == IDEAL:
        return None
    if not _INTEGER.fullmatch(word):
        raise CimsimError(f"'{word}' is not a number of bits; write a whole number or {IDEAL}")
    return int(word)


def _scalar(word: str) -> Level:
    if word == IDEAL:
        return None
    if _INTEGER.fullmatch(word):
        return int(word)
    return _number(word) if _NUMBER.fullmatch(word) else word


_READERS: dict[str, Callable[[str], Level]] = {
    "noise": _number,
    "time": parse_duration,
    "adc.bits": _bits,
    "dac.bits": _bits,
}
