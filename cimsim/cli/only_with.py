"""Options that have an effect only together with others.

Options of a study that need another option of the same study declare this themselves, see
:func:`cimsim.analysis.study.option`. Conditions that depend on a run or a model are checked where
it is known. Permissions such as ``--trust`` and ``--download`` are never refused. Options of
figures are only refused if no figure is drawn, so ``--dpi`` is also allowed for PDF files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from typer import Context

from cimsim.errors import applies_only

Values = Mapping[str, Any]


class OnlyWith(NamedTuple):
    """Options that have an effect only if the others of a command fulfill a condition.

    Attributes:
        options: names of their parameters.
        reads: names of the parameters that the condition reads.
        holds: the condition, a function of all parameters by name.
        where: what the options apply to.
        remedy: how to fulfill the condition.
        commands: the commands; by default all that have the parameters.
    """

    options: tuple[str, ...]
    reads: tuple[str, ...]
    holds: Callable[[Values], bool]
    where: str
    remedy: str
    commands: tuple[str, ...] = ()

    def concerns(self, command: str, parameters: Mapping[str, Any]) -> bool:
        """Whether ``command`` has one of the options, and everything that the condition reads."""
        if self.commands and command not in self.commands:
            return False
        return all(name in parameters for name in self.reads) and any(
            name in parameters for name in self.options
        )


RULES = (
    OnlyWith(("wide",), ("as_json",), lambda v: not v["as_json"], "tables", "remove --json"),
    OnlyWith(
        ("wide",),
        ("name",),
        lambda v: v["name"] is None,
        "the table of all networks",
        "remove NAME",
        commands=("models",),
    ),
    OnlyWith(("address",), ("engine",), lambda v: v["engine"] == "ray", "--engine ray", "add it"),
    OnlyWith(
        ("workers",),
        ("engine",),
        lambda v: v["engine"] != "ray",
        "--engine local",
        "remove --engine ray",
    ),
    OnlyWith(
        ("chip_seed", "cycle", "age", "profile", "old_on"),
        ("digital",),
        lambda v: not v["digital"],
        "a chip",
        "remove --digital",
    ),
    OnlyWith(
        ("seed",),
        ("temperature",),
        lambda v: v["temperature"] > 0,
        "a --temperature above 0",
        "set one",
    ),
    OnlyWith(
        ("data_dir",),
        ("runs",),
        lambda v: bool(v["runs"]),
        "runs",
        "name one",
        commands=("app",),
    ),
    OnlyWith(
        ("model", "input_shape", "classes"),
        ("run",),
        lambda v: v["run"] is None,
        "a model without a run",
        "remove RUN",
        commands=("cost",),
    ),
    OnlyWith(
        ("inputs", "data_dir", "store"),
        ("run",),
        lambda v: v["run"] is not None,
        "a run",
        "name one",
        commands=("cost",),
    ),
)
"""All of them."""


def refuse_without_effect(context: Context) -> None:
    """Refuse options of a command that the others leave without effect.

    Options with their default value are not refused.

    Raises:
        CimsimError: if there is one.
    """
    parameters = {each.name: each for each in context.command.params}
    command = " ".join(context.command_path.split()[1:])
    for rule in RULES:
        if not rule.concerns(command, parameters) or rule.holds(context.params):
            continue
        given = [parameters[name] for name in rule.options if _is_given(name, context)]
        if given:
            raise applies_only([each.opts[0] for each in given], rule.where, rule.remedy)


def _is_given(name: str, context: Context) -> bool:
    """Whether the parameter ``name`` of the command differs from its default."""
    value = context.params.get(name)
    defaults = (each.default for each in context.command.params if each.name == name)
    return value not in (None, False, (), [], *defaults)
