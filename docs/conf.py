"""Sphinx configuration. Build with `sphinx-build -W -n -b html docs docs/_build/html`."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import imagesize
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.ext.napoleon.docstring import NumpyDocstring

sys.path.insert(0, str(Path(__file__).parent))
import figures

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
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
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

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

# reference
default_role = "code"
autosummary_generate = True
autosummary_context = {"figures": figures.examples()}  # each page of `pl` shows its figure
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"  # fields of dataclasses stand under Attributes alone
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    "PRNGKeyArray": "PRNGKeyArray",  # else written out as all that it can be
    "Cells": "AnnData | str | Path",
    "ModelLike": "GinsengClassifierState | AnnData | str | Path",
}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"Array|PRNGKeyArray|jaxtyping\..*|.*'.*"),  # shapes, and halves of unions in quotes
    ("py:.*", r"ginseng\._.*|ginseng\..*\.(_\w+\..*|Source|Split|Fitted)|to_dict"),  # types that are not public
]

# inventories of other projects need a network, which a build elsewhere may not have
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "distributed": ("https://distributed.dask.org/en/stable/", None),
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "jax": ("https://docs.jax.dev/en/latest/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "sklearn": ("https://scikit-learn.org/stable/", None),
        "zarr": ("https://zarr.readthedocs.io/en/stable/", None),
    }
else:
    others = "anndata|collections|distributed|h5py|jax|matplotlib|numpy|os|pandas|pathlib|scanpy|scipy|sklearn|zarr"
    nitpick_ignore_regex.append(("py:.*", rf"({others})\..*|[a-z]+|[A-Z]\w+"))

# pages
html_theme = "sphinx_book_theme"
html_title = f"ginseng {version}"
html_static_path = ["_static"]
html_css_files = ["ginseng.css"]
html_theme_options = {
    "navbar_persistent": [],  # the search field stands in the sidebar
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_show_sourcelink = False


def _halve(app: Sphinx, tree: nodes.document) -> None:
    """Show figures that were drawn at twice the usual resolution at half their size in pixels: crisp on any screen."""
    for image in tree.findall(nodes.image):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".png" and imagesize.getDPI(path)[0] > 150:
            image["width"] = f"{imagesize.get(path)[0] // 2}px"


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", _halve)
    return {"parallel_read_safe": True}


def _returns(self: NumpyDocstring, section: str) -> list[str]:
    """Keep the prose of `Returns`, and the definition list of what is written into an AnnData."""
    lines = self._dedent(self._consume_to_next_section())
    return [*self._format_block(":returns: ", lines), ""]


def _attributes(self: NumpyDocstring, section: str) -> list[str]:
    """Give each of several attributes that share a line an entry of its own, as parameters have."""
    lines = []
    for name, kind, description in self._consume_fields(multiple=True):
        lines += self._format_block(f":ivar {name}: ", description)
        if kind := kind or self._lookup_annotation(name):
            lines.append(f":vartype {name}: {kind}")
    return [*lines, ""]


next(f for f in PyObject.doc_field_types if f.name == "variable").label = "Attributes"  # not "Variables"
NumpyDocstring._parse_returns_section = _returns  # type: ignore[method-assign]
NumpyDocstring._parse_attributes_section = _attributes  # type: ignore[method-assign]
