"""Write the pages that follow from the code into ``docs/generated/`` before Sphinx reads them.

The packages and their ``__all__`` give the API reference, the command line its own reference, the
pydantic models the keys of a profile, the YAML files the shipped profiles, and
``benchmarks/results/`` the measurements and the comparison with papers. Nothing is listed by hand.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import typer
import validation
from pydantic import BaseModel
from sphinx.application import Sphinx

import cimsim
from cimsim.cli import command_line
from cimsim.exchange import aihwkit_converters, aihwkit_fields, aihwkit_noise, crosssim_fields
from cimsim.exchange.source import NO_EFFECT, Field
from cimsim.profile import Profile, describe, load_profile, profile_names
from docstrings import literal_blocks
from profile_keys import escaped, key_table, kind_of, label, sections_of

# Other folders of a checkout, which are no part of the package; the command line has its own pages.
_NOT_API = {"tests", "benchmarks", "docs", "cimsim", "cli", "device_profiles"}


def heading(text: str, underline: str = "=") -> list[str]:
    """Return the lines of a heading in reStructuredText."""
    return [text, underline * max(4, len(text)), ""]


def page(file: Path, lines: list[str]) -> None:
    """Write a page."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def toctree(names: list[str], depth: int = 1) -> list[str]:
    """Return the lines of a table of contents."""
    return [".. toctree::", f"   :maxdepth: {depth}", "", *(f"   {name}" for name in names), ""]


# The API


def packages(package: ModuleType) -> Iterator[ModuleType]:
    """Yield the modules that have public names: packages, and modules of those without a list."""
    yield package
    for info in iter_modules(package.__path__):
        if info.name.startswith("_") or (package is cimsim and info.name in _NOT_API):
            continue
        if not info.ispkg and hasattr(package, "__all__"):
            continue
        module = import_module(f"{package.__name__}.{info.name}")
        if info.ispkg:
            yield from packages(module)
        else:
            yield module


def public(module: ModuleType) -> dict[str, Any]:
    """Return the public names of a module: its ``__all__``, or what it defines."""
    if hasattr(module, "__all__"):
        names = [name for name in module.__all__ if not name.startswith("__")]
    else:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    values = {name: getattr(module, name) for name in names}
    return {name: value for name, value in values.items() if not inspect.ismodule(value)}


def api(folder: Path) -> None:
    """Write one page for each module with public names; each object is explained once."""
    homes: dict[int, str] = {}
    pages = []
    for module in packages(cimsim):
        names = public(module)
        if not names and not module.__doc__:
            continue
        pages.append(module.__name__)
        own: list[str] = []
        elsewhere: list[str] = []
        for name, value in names.items():
            path = f"{module.__name__}.{name}"
            shared = inspect.isclass(value) or inspect.isfunction(value)
            home = homes.setdefault(id(value), path) if shared else path
            (own if home == path else elsewhere).append(home)
        lines = [":orphan:", ""] if module.__name__.count(".") > 1 else []
        lines += [*heading(module.__name__), f".. automodule:: {module.__name__}", ""]
        objects = {path: getattr(module, path.rpartition(".")[2]) for path in own}
        listed = [p for p, v in objects.items() if inspect.isclass(v) or inspect.isfunction(v)]
        lines += _summary({p: names[p.rpartition(".")[2]] for p in listed + elsewhere})
        for path, value in objects.items():
            lines += _entry(path, value)
        page(folder / f"{module.__name__}.rst", lines)
    lines = [
        *heading("Python API"),
        "All public names, generated from the docstrings. Start with :mod:`cimsim`, which has the",
        "names that most programs need, and :mod:`cimsim.nn`.",
        "",
    ]
    lines += _table((f":doc:`{name}`", _first_sentence(import_module(name))) for name in pages)
    top = [name for name in pages if name.count(".") <= 1]
    page(folder / "index.rst", [*lines, *_hidden(toctree(top))])


def _first_sentence(value: Any) -> str:
    lines = literal_blocks((inspect.getdoc(value) or "").partition("\n\n")[0].splitlines())
    text = " ".join(" ".join(lines).split())
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [".. list-table::", "   :widths: auto", ""]
    for first, second in rows:
        lines += [f"   * - {first}", f"     - {second}"]
    return [*lines, ""]


def _hidden(lines: list[str]) -> list[str]:
    return [line.replace("   :maxdepth: 1", "   :hidden:") for line in lines]


def _summary(objects: dict[str, Any]) -> list[str]:
    """Return a table of objects, each with the first sentence of its docstring."""
    roles = {p: "class" if inspect.isclass(value) else "func" for p, value in objects.items()}
    rows = [(f":py:{roles[p]}:`~{p}`", _first_sentence(value)) for p, value in objects.items()]
    return _table(rows) if rows else []


def _entry(path: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        return [f".. {kind}:: {path}", "   :members:", "   :show-inheritance:", ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: {path}", ""]
    lines = [f".. py:data:: {path}", ""]
    sections = list(sections_of(value))
    if sections:
        words = ", ".join(f":py:class:`~{s.__module__}.{s.__qualname__}`" for s in sections)
        return [*lines, f"   One of {words}.", ""]
    if isinstance(value, str | int | float | tuple | frozenset) and len(repr(value)) < 100:
        return [*lines, f"   ``{value!r}``", ""]
    return [*lines, f"   {escaped(type(value).__name__)}", ""]


# The command line


def commands(folder: Path) -> None:
    """Write one page with the help and the options of every command."""
    root: Any = typer.main.get_command(command_line)
    root.import_all()
    lines = [*heading("Command line"), "Every command prints this text with ``--help``.", ""]
    for name, command in root.commands.items():
        for sub, each in getattr(command, "commands", {"": command}).items():
            lines += [*heading(f"cimsim {name} {sub}".strip(), "-"), *_command(each)]
    page(folder / "cli.rst", lines)


def _command(command: Any) -> list[str]:
    lines = [_prose(inspect.cleandoc(command.help or "")), ""]
    if command.params:
        lines += [".. list-table::", "   :widths: auto", ""]
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        argument = parameter.param_type_name == "argument"
        names = parameter.name.upper() if argument else ", ".join(parameter.opts)
        default = parameter.show_default if isinstance(parameter.show_default, str) else ""
        value = parameter.default
        if not default and isinstance(value, str | int | float) and not isinstance(value, bool):
            default = str(value)
        text = " ".join(_prose(parameter.help or "").split())
        text += "." if text and text[-1] not in ".?!" else ""
        text += " *Required.*" if parameter.required else ""
        text += f" Default: {escaped(default)}." if default and not parameter.required else ""
        lines += [f"   * - ``{names}``", f"     - {text.strip()}"]
    return [*lines, ""]


def _prose(text: str) -> str:
    """Return a help text as reStructuredText: Markdown's code marks become literals."""
    parts = re.split(r"(`[^`]+`)", " \n".join(text.splitlines()))
    return "".join(f"`{p}`" if p.startswith("`") else escaped(p) for p in parts)


# Profiles


def profile_keys(folder: Path) -> None:
    """Write one page for each part of a profile, with every section that it may hold."""
    lines = [*heading("Keys of a profile"), *_prose_of(Profile), *key_table(Profile)]
    names = []
    seen: set[type] = set()
    for name, field in Profile.model_fields.items():
        for section in sections_of(field.annotation):
            names.append(name)
            page(folder / f"{name}.rst", [*heading(name), *_tree(name, section, True, seen)])
    page(folder / "index.rst", [*lines, *toctree(names, 2)])


def _tree(path: str, section: type[BaseModel], top: bool, seen: set[type]) -> list[str]:
    """Return the keys of a section, then of all sections inside it; each is explained once."""
    seen.add(section)
    lines = [f".. _{label(section)}:", ""]
    if not top:
        kind = kind_of(section)
        lines += heading(f"{path}: {kind}" if kind else path, "-")
    lines += [*_prose_of(section), *key_table(section)]
    for name, field in section.model_fields.items():
        for inner in sections_of(field.annotation):
            if inner not in seen:
                lines += _tree(f"{path}.{name}", inner, False, seen)
    return lines


def _prose_of(section: type[BaseModel]) -> list[str]:
    return [*literal_blocks((inspect.getdoc(section) or "").splitlines()), ""]


def shipped_profiles(folder: Path) -> None:
    """Write one page for each profile that comes with cimsim: all numbers with their sources."""
    rows = []
    for name in profile_names():
        profile = load_profile(name)
        rows.append((f":doc:`{name}`", escaped(profile.title)))
        lines = [":orphan:", "", *heading(name)]
        for index, part in enumerate(describe(profile)):
            if index:
                lines += heading(part.heading, "-")
            described = any(row.meaning or row.source for row in part.rows)
            lines += [".. list-table::", "   :widths: auto"]
            if described:
                lines += ["   :header-rows: 1", "", "   * - key", "     - value"]
                lines += ["     - meaning", "     - source"]
            lines.append("")
            for row in part.rows:
                cells: tuple[str, ...] = (row.label, row.value, row.meaning, row.source)
                for column, text in enumerate(cells if described else cells[:2]):
                    start = "   * -" if column == 0 else "     -"
                    lines.append(f"{start} {escaped(' '.join(text.split()))}")
            lines.append("")
        page(folder / f"{name}.rst", lines)
    page(
        folder / "index.rst",
        [
            *heading("Shipped profiles"),
            "Every number of every profile with its unit, meaning and source, as printed by "
            "``cimsim profiles show NAME``.",
            "",
            *_table(rows),
        ],
    )


# Benchmarks


def results(source: Path, folder: Path) -> None:
    """Copy the measured results, with their figures, as pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in source.glob("*.png"):
        shutil.copy(figure, folder)
    for file in sorted(source.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        # A figure is shown in the page; other files are in the repository only.
        text = re.sub(r"\[([^\]]*)\]\((?!http|#)[^)]*\.(?:csv|json|svg)\)", r"`\1`", text)
        (folder / file.name).write_text("---\norphan: true\n---\n\n" + text, encoding="utf-8")


# Fields of other libraries


def exchange_fields(folder: Path) -> None:
    """Write one page per library: each field, and the key that it sets or the consequence."""
    nested = {
        f"noise_model ({name})": fields for name, (fields, *_) in aihwkit_noise.MODELS.items()
    } | {
        f"noise_model.g_converter ({name})": fields
        for name, fields in aihwkit_converters.CONVERTERS.items()
    }
    pages = {
        "aihwkit": {"The configuration": aihwkit_fields.FIELDS, **nested},
        "crosssim": {"The parameters": crosssim_fields.FIELDS},
    }
    titles = {"aihwkit": "Fields of AIHWKit", "crosssim": "Fields of CrossSim"}
    for name, tables in pages.items():
        lines = heading(titles[name])
        lines += [
            "The key of a profile that each field sets, or the consequence of a value other than "
            "the default.",
            "",
        ]
        for title, fields in tables.items():
            lines += [*heading(title, "-"), *_field_table(fields)]
        page(folder / f"{name}.rst", lines)
    page(folder / "index.rst", [*heading("Fields of other libraries"), *toctree(sorted(pages))])


def _field_table(fields: Iterable[Field]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
    for path, default, key, consequence in (
        ("field", "default", "key", "without a counterpart"),
        *((f"``{f.path}``", _code(str(f.default)), _key(f), f.consequence) for f in fields),
    ):
        lines += [f"   * - {path}", f"     - {default}", f"     - {key}"]
        lines.append(f"     - {escaped(consequence)}")
    return [*lines, ""]


def _code(text: str) -> str:
    return f"``{text}``" if text else ""


def _key(field: Field) -> str:
    if field.key in ("", NO_EFFECT):
        return "no effect on the chip" if field.key else ""
    return ", ".join(f"``{key.strip()}``" for key in field.key.split(","))


def generate(app: Sphinx) -> None:
    """Write all generated pages."""
    folder = Path(app.srcdir) / "generated"
    shutil.rmtree(folder, ignore_errors=True)
    api(folder / "api")
    commands(folder)
    profile_keys(folder / "keys")
    shipped_profiles(folder / "profiles")
    exchange_fields(folder / "exchange")
    measured = Path(app.srcdir).parent / "benchmarks" / "results"
    results(measured, folder / "results")
    results(measured / "papers", folder / "results" / "papers")
    validation.write(measured / "papers", folder / "validation.md")


def _link_results(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links to the measured results of the repository at their pages."""
    pattern = r"\]\((?:\.\./)+benchmarks/results/([\w./-]+\.md)"
    source[0] = re.sub(pattern, r"](/generated/results/\1", source[0])


def _spread_tutorials(app: Sphinx, env: Any, docnames: list[str]) -> None:
    """Deal the tutorials out evenly, because parallel reading divides the list into stretches."""
    tutorials = [name for name in docnames if name.startswith("tutorials/")]
    others = [name for name in docnames if name not in tutorials]
    step = len(others) // (len(tutorials) or 1)
    for index, name in enumerate(tutorials):
        others.insert(index * (step + 1), name)
    docnames[:] = others


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the generator."""
    app.connect("builder-inited", generate)
    app.connect("source-read", _link_results)
    app.connect("env-before-read-docs", _spread_tutorials)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
