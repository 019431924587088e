"""Sphinx configuration: ``make site`` builds these pages, ``make run`` runs the notebooks first."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import memcom  # noqa: E402

project = "memcom"
author = "memcom contributors"
project_copyright = author
release = memcom.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
    "rooms",
    "standalone",
    "methods",
]
exclude_patterns = ["_build", "_ext", "**/.ipynb_checkpoints"]
suppress_warnings = ["toc.empty_glob"]  # results appear once they are generated

# Docstrings: Google style; types stand in the signature.
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
toc_object_entries_show_parents = "hide"
default_role = "py:obj"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
nitpicky = True
# Other libraries' documentation would need the network.
nitpick_ignore_regex = [("py:.*", r"(?!memcom\.).*")]

# Markdown and notebooks. Papermill runs the notebooks beforehand, strictly.
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # the default loads a script from the network

# Pages that work from the file system.
html_theme = "furo"
html_title = "memcom"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["memcom.css"]
html_js_files = ["offline.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_permalinks_icon = "#"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
