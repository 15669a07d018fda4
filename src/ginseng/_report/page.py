from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.entries import check_adata
from ginseng._disk.atomic import replacing
from ginseng._disk.readers import open_adata
from ginseng._docs import document
from ginseng._logging import running
from ginseng._report import facts as _facts
from ginseng._report import parts
from ginseng._report.markup import Markup, tag


@document
def report(
    adata: AnnData | str | Path,
    path: str | Path,
    *,
    key: str = _keys.DEFAULT,
    label_key: str | None = None,
    groupby: str | None = None,
    basis: str | None = None,
    model: Any = None,
    title: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write an HTML report about the labels: what they are, how far to trust them, and how they were made.

    The report is a single file under 3 MB that needs no network, for colleagues, supplements and the lab book. Labels
    alone are enough; confidence, novelty, votes, an embedding, ranked genes and metrics each add a section. Above
    100,000 cells, the embedding shows a random sample. Nothing is written into `adata`.

    Parameters
    ----------
    adata
        Cells labelled by :func:`ginseng.tl.classify`: an AnnData, or a path that :func:`ginseng.read_adata` reads.
    path
        The file to write, `.html`.
    %(key)s
    label_key
        Column of `obs` with true labels, shown beside the predicted ones. If None, the one that
        :func:`ginseng.tl.evaluate` compared.
    groupby
        Column of `obs` with samples, donors or conditions, whose composition is compared.
    basis
        Entry of `obsm` to plot, with or without the prefix `X_`. If None, UMAP, t-SNE or the like, if there is one.
    model
        The model that labelled the cells, in any form that :func:`ginseng.tl.classify` takes. If given, the report
        also describes its training data and genes, and checks the data against it.
    title
        Heading of the report.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    KeyError
        If there are no labels, or a column or embedding does not exist.
    ValueError
        If `path` does not end in `.html`.
    FileExistsError
        If the file exists and `overwrite` is False.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", architecture="linear", silent=True)
    >>> gs.tl.classify(adata, adata, silent=True)
    >>> gs.report(adata, "report.html", overwrite=True)  # doctest: +SKIP
    """
    target = Path(path).expanduser()
    if target.suffix.lower() not in (".html", ".htm"):
        msg = f"`path` is {str(path)!r}; it must end in .html."
        raise ValueError(msg)
    if target.exists() and not overwrite:
        msg = f"{target} exists and is not replaced. Choose another name, or pass `overwrite=True`."
        raise FileExistsError(msg)
    name = None
    if isinstance(adata, str | Path):
        name = Path(adata).name
        adata = open_adata(adata)
    check_adata(adata)
    with running(f"report on {adata.n_obs:,} cells") as said:
        state = None
        if model is not None:
            from ginseng.models.store import open_model  # needs JAX, unlike a page without a model

            state = open_model(model)
        found = _facts.collect(adata, key, label_key, groupby)
        heading = title or f"Cell types of {name or f'{adata.n_obs:,} cells'}"
        sections = [
            parts.distrust(found),
            parts.types(found),
            parts.groups(found),
            parts.embedding(adata, found, basis),
            parts.certainty(found),
            parts.metrics(found),
            parts.genes(adata, key, state),
            parts.model(found, state),
            parts.checks(adata, found, state),
            parts.methods(adata, key, found, state),
            parts.citation(found),
        ]
        text = _page(heading, parts.summary(adata, found), [section for section in sections if section])
        with replacing(target) as partial:
            partial.write_text(text, encoding="utf-8")
        if name is not None and adata.isbacked:
            adata.file.close()
        said.done = f"report on {adata.n_obs:,} cells and {found.n_types} types in {target}"


def _page(title: str, summary: Markup, sections: list[Markup]) -> str:
    folder = files("ginseng._report")
    style = (folder / "style.css").read_text(encoding="utf-8")
    script = (folder / "copy.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # nothing is loaded, and no other script would run
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    links = [
        tag("a", parts.NAMES[name], href=f"#{name}") for name in parts.NAMES if f'id="{name}"' in "".join(sections)
    ]
    body = tag(
        "body",
        tag("header", tag("h1", title), summary, tag("nav", links, aria_label="Sections")),
        tag("main", sections),
        tag("footer", f"Written by ginseng {parts.version_of('ginseng')} on {pd.Timestamp.now():%Y-%m-%d}."),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
