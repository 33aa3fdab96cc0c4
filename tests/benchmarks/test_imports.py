"""Every benchmark can be imported, and uses only names of cimsim that exist."""

import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import benchmarks

_FOLDER = Path(benchmarks.__path__[0])
MODULES = sorted(
    ".".join(path.relative_to(_FOLDER).with_suffix("").parts)
    for pattern in ("*.py", "papers/*.py")
    for path in _FOLDER.glob(pattern)
)
_USE = re.compile(r"\b([a-z_]+)\.([A-Za-z_]\w*)")


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__init__")])
def test_it_uses_what_exists(name: str) -> None:
    text = _FOLDER.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    for library in re.findall(r"^(?:import|from) (\w+)", text, re.M):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    module = importlib.import_module(f"benchmarks.{name}")
    ours = {
        alias: part
        for alias, part in vars(module).items()
        if inspect.ismodule(part) and part.__name__.partition(".")[0] == "cimsim"
    }
    missing = [
        f"{alias}.{attribute}"
        for alias, attribute in _USE.findall(text.replace("kernels.cpp", ""))
        if isinstance(part := ours.get(alias), ModuleType) and not hasattr(part, attribute)
    ]
    assert not missing
