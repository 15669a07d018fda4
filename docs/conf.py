"""Sphinx configuration. Build with `sphinx-build -W -b html docs docs/_build/html`."""

from __future__ import annotations

import os
import re
import warnings
from importlib.metadata import metadata
from typing import Any

from sphinx.ext.napoleon.docstring import NumpyDocstring

warnings.filterwarnings("ignore", category=DeprecationWarning)

info = metadata("ginseng")
project = info["Name"]
author = "The ginseng developers"
copyright = author
version = release = info["Version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

# Markdown and notebooks
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook is kept with its outputs, and a test runs it
nb_merge_streams = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# reference
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # sphinx_autodoc_typehints writes them, beside each parameter
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
typehints_defaults = "comma"
typehints_document_rtype = False
always_use_bars_union = True
suppress_warnings = ["sphinx_autodoc_typehints.forward_reference", "sphinx_autodoc_typehints.guarded_import"]

# inventories of other projects need a network, which a build elsewhere may not have
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "jax": ("https://docs.jax.dev/en/latest/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "zarr": ("https://zarr.readthedocs.io/en/stable/", None),
    }

# pages
html_theme = "sphinx_book_theme"
html_title = f"ginseng {version}"
html_static_path = ["_static"]
html_css_files = ["ginseng.css"]
html_theme_options = {"show_navbar_depth": 1, "use_download_button": False, "use_fullscreen_button": False}
html_show_sourcelink = False


def typehints_formatter(annotation: Any, config: Any) -> str | None:
    """Write shapes as they stand in the source, and long aliases by their name."""
    if type(annotation).__module__.startswith("jaxtyping") or getattr(annotation, "__module__", "") == "jaxtyping":
        text = re.sub(r"\b(jaxtyping|jax)\.", "", getattr(annotation, "__name__", str(annotation)))
        return f"``{text}``"
    return None


def _returns_as_written(self: NumpyDocstring, section: str) -> list[str]:
    """Keep the prose of `Returns`; lines `name : type` become a definition list, as in scanpy's documentation."""
    lines = self._dedent(self._consume_to_next_section())
    lines = [re.sub(r"^(`.+`)\s+:\s+(\S.*)$", r"\1 : \2", line) for line in lines]
    return [*self._format_block(":returns: ", lines), ""]


NumpyDocstring._parse_returns_section = _returns_as_written  # type: ignore[method-assign]
