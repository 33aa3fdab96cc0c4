"""Configuration of the documentation site; ``make docs`` builds it."""

import os
import sys
from functools import partialmethod
from pathlib import Path

from nbclient import NotebookClient

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))
sys.path.append(str(DOCS.parent))  # for the results of benchmarks

import cimsim  # noqa: E402

project = "cimsim"
author = "the cimsim developers"
project_copyright = "2026, the cimsim developers"
version = release = cimsim.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    # In _ext/.
    "docstrings",
    "generated_pages",
    "mathml",
]
exclude_patterns = ["_ext", "_static", "**/.ipynb_checkpoints"]
# Words in docstrings that several classes have as attributes, such as "name".
suppress_warnings = ["ref.python"]
needs_sphinx = "8.1"

# Pages read from disk, without a network: nothing is loaded from another host.
html_theme = "furo"
html_title = f"cimsim {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# Tutorials run at every build, so that none shows what an earlier version printed.
nb_execution_mode = "force"
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress and logs

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
copybutton_exclude = ".linenos, .gp, .go"

# Commands in tutorials: the `cimsim` of this environment, and plain text of a fixed width, although
# Jupyter asks for colors.
nb_execution_in_temp = True
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ |= {"BASH_ENV": str(DOCS / "_ext" / "plain.sh"), "OMP_NUM_THREADS": "1"}

# The output of a command arrives in pieces of 100 bytes, which belong together.
NotebookClient.__init__ = partialmethod(NotebookClient.__init__, coalesce_streams=True)
