"""What studies have in common: facts, results and their files, and the descriptor of a study.

A study is a sweep with its own axis and a :class:`Result` computed from it. Its
:class:`Study` names the command, the options, the files and the section of a report; everything
else is derived from it. To add a study, write one file with both and list it in
:mod:`cimsim.analysis.studies`.

This module and those of the studies import no large library at the top, since the command line is
described with them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cimsim.analysis import conditions
from cimsim.analysis.conditions import file_suffix
from cimsim.analysis.labels import require_names
from cimsim.analysis.sheet import Column as Column  # for the file of a study
from cimsim.analysis.sheet import Sheet as Sheet
from cimsim.analysis.shown import Shown
from cimsim.analysis.sweeps.metric import TEST, Metric, metric_named
from cimsim.analysis.sweeps.store import Plan
from cimsim.errors import CimsimError, applies_only
from cimsim.reading import parse_json, read_text
from cimsim.sealing import unsealed
from cimsim.terminal import one_line
from cimsim.units import format_duration

if TYPE_CHECKING:
    from typing_extensions import Self

    from cimsim.analysis.evaluation import Evaluation
    from cimsim.analysis.headline import Headline
    from cimsim.analysis.subjects import Subject


@dataclass(frozen=True)
class Facts:
    """The conditions of a result.

    Attributes:
        run: name of the subject.
        noise: factor on every noise of the profile.
        digital: the metric without any non-ideality.
        on: name of the profile, where it is not the subject's own.
        samples: number of test samples; None for all.
        changes: values of the profiles that were changed from Python.
        split: the samples that are evaluated: ``test``, or ``held-out`` training data.
        others: as in :class:`cimsim.analysis.sweeps.store.Plan`.
    """

    run: str
    profile: str
    noise: float
    data: str
    checkpoint_sha256: str
    chips: int
    age_s: float
    metric: str
    token: str
    digital: float
    on: str | None = None
    samples: int | None = None
    changes: tuple[str, ...] = ()
    split: str = TEST

    @property
    def measured(self) -> Metric:
        """The metric."""
        return metric_named(self.metric, self.token, split=self.split)

    @property
    def where(self) -> str:
        """Part of a title: ``aware on pcm-ibm-2020 at 2 times its noise``."""
        scaled = "" if self.noise == 1 else f" at {self.noise:g} times its noise"
        return f"{self.run} on {self.profile}{scaled}"

    @property
    def counted(self) -> str:
        """Part of a title: ``10 chips``."""
        return f"{self.chips} chips" if self.chips > 1 else "1 chip"

    @property
    def aged(self) -> str:
        """Part of a title: ``, 1 y after programming``; empty for age zero."""
        return f", {format_duration(self.age_s)} after programming" if self.age_s else ""

    @property
    def interval(self) -> str:
        """Part of a title: `` and its 95 % interval``; empty for one chip."""
        return " and its 95 % interval" if self.chips > 1 else ""

    @property
    def plus_minus(self) -> str:
        """Explanation of ± for a caption; empty for one chip, which has no interval."""
        return "; ± is the 95 % interval of the mean" if self.chips > 1 else ""

    @property
    def in_words(self) -> str:
        """Part of a sentence: ``10 chips, 1 y after programming, 3 times the noise``."""
        scaled = "" if self.noise == 1 else f", {self.noise:g} times the noise"
        other = "" if self.on is None else f", on {self.on}"
        samples = "" if self.samples is None else f", {self.samples} samples"
        return f"{self.counted}{self.aged}{scaled}{other}{samples}"

    @property
    def weight(self) -> float:
        """Weight of a :class:`~cimsim.analysis.headline.Headline` under these conditions."""
        usual = self.noise == 1 and self.on is None and self.samples is None
        return self.chips if usual else self.chips * 1e-6

    @property
    def caption(self) -> str:
        """Caption of a table: metric, chips, age, noise, samples and the digital metric."""
        metric = self.measured
        scaled = "" if self.noise == 1 else f", {self.noise:g} times the noise"
        samples = "" if self.samples is None else f", {self.samples} samples"
        digital = metric.format(self.digital)
        return f"{metric.heading}, {self.counted}{self.aged}{scaled}{samples}; digital {digital}"


def facts_of(plan: Plan) -> Facts:
    """The facts of the sweep ``plan``."""
    return Facts(**{name: getattr(plan, name) for name in Facts.__dataclass_fields__})


class Options(BaseModel):
    """The options of a study's command that no other study has; its docstring is the help."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def refuse_without_effect(self) -> None:
        """
        Raises:
            CimsimError: if an option is given without the one that it needs, see :func:`option`.
        """
        for name, needed in self.needs().items():
            if self.gives(name) and not getattr(self, needed):
                flag, other = (flag_of(each, type(self)) for each in (name, needed))
                raise applies_only([flag], other, "add it")

    def gives(self, name: str) -> bool:
        """Whether the option ``name`` has another value than its default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @classmethod
    def needs(cls) -> dict[str, str]:
        """The options that have an effect only with another one, and its name."""
        extras = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        return {
            name: str(extra["only_with"])
            for name, extra in extras.items()
            if isinstance(extra, dict) and extra.get("only_with")
        }


def flag_of(name: str, config: type[BaseModel]) -> str:
    """The flag of the field ``name`` of a configuration, such as ``--from``."""
    extra = config.model_fields[name].json_schema_extra
    own = extra.get("flag") if isinstance(extra, dict) else None
    return str(own or "--" + name.replace("_", "-"))


def option(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    metavar: str | None = None,
    default_text: str | None = None,
    old_flag: str | None = None,
    in_name: bool = True,
    axis: bool = False,
    only_with: str | None = None,
    **limits: float,
) -> Any:
    """Declare an option of a command.

    Args:
        default: its default; ``...`` if it is required.
        help: whole sentences.
        flag: its flag, where that is not the field's name.
        metavar: placeholder of its value in the help.
        default_text: description of the default in the help.
        old_flag: an older flag that is still accepted.
        in_name: whether a result with another value is kept under another name; not for what makes
            it only more precise.
        axis: whether its text is an axis, which Python may give as ``{name: levels}``.
        only_with: name of the option of the same command without which it has no effect.
        limits: limits of its value, such as ``ge=1``.
    """
    extra = {"flag": flag, "metavar": metavar, "default_text": default_text, "old_flag": old_flag}
    given: dict[str, Any] = {
        "json_schema_extra": {
            **extra,
            "in_name": in_name,
            "axis": axis,
            "only_with": only_with,
        },
        **limits,
    }
    return Field(default=default, description=help, **given)


def short_number(value: float, factor: float = 1.0) -> float:
    """``factor`` times ``value``, rounded to ten digits if ``value`` can be recovered from it."""
    short = float(f"{factor * value:.10g}")
    return short if short / factor == value else factor * value


def number_text(value: float) -> str:
    """``value`` as short text that is read back as the same number.

    >>> number_text(50.0), number_text(0.1 + 0.2)
    ('50', '0.30000000000000004')
    """
    short = f"{value:.10g}"
    return short if float(short) == value else repr(value)


class Result(Shown):
    """The result of a study; its subclasses are frozen dataclasses."""

    study: ClassVar[Study[Any]]
    """The descriptor, which sets it."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """How its conditions differ from the defaults, such as ``noise=2``."""
        others = conditions.of_runs(self.other_runs)
        return (*others, *conditions.of_options(self.options()))

    @property
    def place(self) -> str:
        """Path of its files under the usual conditions, without the extension."""
        return self.stem

    @property
    def file(self) -> str:
        """See :class:`Shown`; the name states :attr:`conditions`."""
        return self.place + conditions.file_suffix(self.conditions)

    @abstractmethod
    def options(self) -> Options:
        """The options of the command that computes the result again."""

    def options_for(self, subject: Subject) -> Options:
        """The same for ``subject``, where its own profiles matter."""
        return self.options()

    @property
    def other_runs(self) -> tuple[str, ...]:
        """Folders of the other subjects of the command."""
        return ()

    @property
    def fingerprints(self) -> str:
        """Hashes of the weights that it was computed with; empty if it holds for any."""
        return ""

    @property
    def answer(self) -> str:
        """The result in words; empty if figure and table are enough."""
        return ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Remarks on the reliability of the result."""
        return ()

    @property
    def headline(self) -> Headline | None:
        """The result for the first screen of a report; None if it is a detail."""
        return None

    def listings(self) -> dict[str, str]:
        """Texts to copy, such as options of a command, by their captions."""
        return {}

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return the fields of an older file ``path`` under today's names."""
        return fields


class StudyResult(Result):
    """The result of a study of one subject, with its facts."""

    facts: Facts

    def renamed(self, names: Sequence[str]) -> Self:
        """See :class:`Shown`."""
        require_names(names, (self.facts.run,))
        facts = replace(self.facts, run=one_line(names[0]))
        return replace(self, facts=facts)  # type: ignore[type-var]  # subclasses are dataclasses

    @property
    def fingerprints(self) -> str:
        """See :class:`Result`."""
        return self.facts.checkpoint_sha256

    @property
    def conditions(self) -> tuple[str, ...]:
        """See :class:`Result`."""
        return (*conditions.of_facts(self.facts, self.study.defaults), *super().conditions)

    @property
    def about(self) -> str:
        """See :class:`Shown`."""
        return f"{self.facts.where}, {self.facts.caption}"


AnyResult = TypeVar("AnyResult", bound=Result)
Run = Callable[["Sequence[Subject]", "Evaluation", Any], Result]


@dataclass(frozen=True)
class Study(Generic[AnyResult]):
    """The descriptor of a study.

    Attributes:
        name: name of the study.
        result: class of its results.
        title: heading of its section in a report.
        caption: description of its figure.
        example: arguments of the command that computes a missing result, after ``RUN``.
        options: options of its command that no other study has.
        run: computes the result of subjects, an evaluation and options; None if another study's
            command does.
        command: its command; the name by default.
        function: its function in Python; the command by default.
        defaults: defaults of shared options that differ from the usual ones.
        several: whether the command takes several runs.
        files: pattern of its JSON files under the usual conditions, below a subject's folder; that
            of ``result.stem`` by default.
        section: key of its section in a report; studies with the same key share one.
        open_table: whether a report shows the table unfolded.
        optional: whether a report leaves out that a result is missing.
    """

    name: str
    result: type[AnyResult]
    title: str
    caption: str
    example: str = ""
    options: type[Options] = Options
    run: Run | None = None
    command: str = ""
    function: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    several: bool = False
    files: str = ""
    section: str = ""
    open_table: bool = False
    optional: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", self.command or self.name)
        object.__setattr__(self, "function", self.function or self.command)
        object.__setattr__(self, "section", self.section or self.name)
        object.__setattr__(self, "files", self.files or f"{self.result.stem}.json")
        self.result.study = self

    def again(self, run: str = "RUN") -> str:
        """A command that computes a result of ``run``."""
        return f"cimsim {self.command} {run} {self.example}".strip()

    def paths(self, folder: Path) -> list[Path]:
        """The JSON files of its results below the subject's ``folder``, sorted.

        A file of an older version is left out if another file has a newer result under the same
        conditions.
        """
        patterns = (self.files, f"{self.files.removesuffix('.json')}_*.json")
        paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
        ranked = sorted(paths, key=lambda path: (path.parent, path.stem))
        return [path for path in ranked if not self._is_replaced(path, folder, paths)]

    def _is_replaced(self, path: Path, folder: Path, paths: Collection[Path]) -> bool:
        if len(paths) == 1:
            return False
        try:
            newer = folder / f"{self.read_file(path, folder).file}.json"
            if newer == path or newer not in paths:
                return False
            self.read_file(newer, folder)
        except CimsimError:
            return False  # whoever reads the damaged file reports it
        return True

    def own_part(self, path: Path, folder: Path) -> str:
        """The part of ``path`` that the ``*`` of :attr:`files` matches; empty without one."""
        before, star, after = self.files.partition("*")
        if not star:
            return ""
        return path.relative_to(folder).as_posix().removeprefix(before).removesuffix(after)

    def read(self, folder: Path, name: str = "", conditions: Sequence[str] = ()) -> AnyResult:
        """Read a result of the subject that is kept in ``folder``.

        Args:
            folder: folder of the subject.
            name: replaces the ``*`` of :attr:`files`.
            conditions: how its conditions differ from the defaults, such as ``["noise=2"]``,
                see :attr:`Result.conditions`. Without them the result under the usual conditions,
                or the only one that there is.

        Raises:
            CimsimError: if there is none, it is damaged, or there are several under other
                conditions.
        """
        usual = folder / self.files.replace("*", name)
        path = usual.with_name(f"{usual.stem}{file_suffix(conditions)}.json")
        if not conditions and not path.is_file():
            others = sorted(path.parent.glob(f"{usual.stem}_*.json"))
            if len(others) > 1:
                names = ", ".join(other.name for other in others)
                raise CimsimError(
                    f"{path}: there is no such result, but {len(others)} under other conditions: "
                    f"{names}; pass the conditions of one, or read its file with read_file"
                )
            path = others[0] if others else path
        return self.read_file(path, folder)

    def read_file(self, path: Path, folder: Path | None = None) -> AnyResult:
        """Read the result in the JSON file ``path``.

        Raises:
            CimsimError: if there is none, or it is damaged.
        """
        again = self.again(str(folder or path.parents[self.files.count("/")]))
        try:
            fields = dict(unsealed(parse_json(read_text(path))))
            fields = self.result.upgrade(fields, path)
            result = TypeAdapter(self.result).validate_python(fields)
            for _ in result.rows():
                pass
            result.sheet()
            return result
        except FileNotFoundError:
            raise CimsimError(f"{path}: there is no such result; run `{again}`") from None
        except OSError as error:
            raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            # Fields of the right types can contradict each other, which shows in the tables.
            raise CimsimError(f"{path}: is damaged; run `{again}` again") from None


def finite(values: Iterable[Sequence[float]], metric: Metric) -> None:
    """Refuse values of ``metric`` that have no differences.

    Raises:
        CimsimError: if one of them is not finite.
    """
    if not all(math.isfinite(value) for chips in values for value in chips):
        raise CimsimError(
            f"losses cannot be computed: the {metric.name} of some chips is not finite; use "
            "--metric accuracy"
        )
