"""cimsim: simulate analog compute-in-memory hardware, and train networks that survive it.

>>> import cimsim
>>> profile = cimsim.load_profile("pcm-ibm-2020")
>>> profile.cell.g_max_uS
25.0
"""

from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A wheel holds cimsim.training, cimsim.analysis and cimsim.device_profiles as ordinary
# sub-packages. In a source checkout those folders stand beside this one, so look there as well.
_here = _Path(__file__).parent
if not (_here / "training").exists() and (_here.parent / "training" / "__init__.py").is_file():
    __path__.append(str(_here.parent))

if TYPE_CHECKING:
    from cimsim.errors import CimsimError as CimsimError
    from cimsim.nn import age as age
    from cimsim.nn import analog_layers as analog_layers
    from cimsim.nn import calibrate as calibrate
    from cimsim.nn import convert as convert
    from cimsim.nn import program as program
    from cimsim.nn import summary as summary
    from cimsim.nn import to_digital as to_digital
    from cimsim.profile import Profile as Profile
    from cimsim.profile import load_profile as load_profile

# Public names and their homes; imported on first use, so that `import cimsim` stays light.
_HOMES = {
    "CimsimError": "cimsim.errors",
    "Profile": "cimsim.profile",
    "load_profile": "cimsim.profile",
    "age": "cimsim.nn",
    "analog_layers": "cimsim.nn",
    "calibrate": "cimsim.nn",
    "convert": "cimsim.nn",
    "program": "cimsim.nn",
    "summary": "cimsim.nn",
    "to_digital": "cimsim.nn",
}
__all__ = ["__version__", *_HOMES]
_FOLDERS = (
    "analysis",
    "array",
    "circuits",
    "devices",
    "estimators",
    "fitting",
    "kernels",
    "nn",
    "profile",
    "quantizers",
    "training",
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(_import_module(_HOMES[name]), name)
    if name in _FOLDERS:
        return _import_module(f"cimsim.{name}")
    raise AttributeError(f"module 'cimsim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_FOLDERS])
