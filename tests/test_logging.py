"""What calls say: one line each by default, nothing at verbosity 0, and nothing of other libraries."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

import pytest
from anndata import AnnData

import ginseng as gs

N = 7  # cell types with enough cells
TIME = r", \d+\.\d s$"


@pytest.fixture(scope="module")
def cells() -> tuple[AnnData, AnnData]:
    """A trained reference, and cells to label."""
    adata = gs.datasets.pbmc68k()
    sizes = adata.obs["cell_type"].value_counts()
    common = adata[adata.obs["cell_type"].isin(sizes.index[sizes > 30])]  # no warning of single cells
    reference, query = common[::2].copy(), common[1::2].copy()
    gs.tl.train(reference, "cell_type", architecture="linear", epochs=3, silent=True)
    return reference, query


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


def test_each_call_says_in_a_line_what_it_did(
    cells: tuple[AnnData, AnnData], capsys: pytest.CaptureFixture[str]
) -> None:
    reference, query = cells[0], cells[1].copy()
    with gs.settings.override(progress_bar=False):
        gs.tl.train(reference, "cell_type", architecture="linear", epochs=3)
        (said,) = lines(capsys)
        best = int(reference.uns["ginseng"]["params"]["best_epoch"])
        accuracy = reference.uns["ginseng"]["history"]["holdout_accuracy"][best - 1]
        assert re.search(rf"^{N} types .* {len(reference)} cells .* 765 genes, accuracy {accuracy:.3f} .*{TIME}", said)

        gs.tl.classify(query, reference, min_confidence=0.5)
        (said,) = lines(capsys)
        n_low = int((query.obs["ginseng_confidence"] < 0.5).sum())
        n_types = len({*query.obs["ginseng_cell_type"]} - {"unassigned"})
        assert re.search(rf"^{len(query)} cells .* {n_types} of {N} types, {n_low} below confidence 0.5{TIME}", said)

        gs.tl.evaluate(query, "cell_type")
        (said,) = lines(capsys)
        right = (query.obs["ginseng_cell_type"].astype(str) == query.obs["cell_type"].astype(str)).mean()
        assert re.search(rf"^{len(query)} cells .* accuracy {right:.3f}, .*{TIME}", said)

        query.obs["cluster"] = query.obs["cell_type"].astype(str)
        gs.tl.vote(query, "cluster")
        (said,) = lines(capsys)
        n_decided = int(query.uns["ginseng"]["vote"]["table"]["decided"].sum())
        assert re.search(rf"^{n_decided} of {N} clusters .*{TIME}", said)

        gs.pp.select_hvgs(query, n_top_genes=100)
        (said,) = lines(capsys)
        assert re.search(rf"^100 of 765 genes .*{TIME}", said)

        gs.tl.rank_genes(query, reference, n_genes=3)
        assert len(lines(capsys)) == 1
        gs.tl.embed(query, reference)
        assert len(lines(capsys)) == 1
        gs.tl.cross_validate(query, "cell_type", "linear", n_folds=2, epochs=1)
        assert len(lines(capsys)) == 1


@pytest.mark.parametrize("how", ["verbosity", "silent"])
def test_nothing_is_said_if_asked(cells: tuple[AnnData, AnnData], capsys: pytest.CaptureFixture[str], how: str) -> None:
    """Not even that genes are missing, which is a warning otherwise."""
    reference, query = cells[0], cells[1][:, 100:].copy()
    silent = how == "silent"
    with gs.settings.override(verbosity=1 if silent else 0):
        gs.tl.classify(query, reference, silent=silent)
        gs.tl.train(cells[0].copy(), "cell_type", architecture="linear", epochs=2, silent=silent)
    assert lines(capsys) == []
    with pytest.warns(UserWarning, match="overlap"), gs.settings.override(progress_bar=False):
        gs.tl.classify(query, reference)


def test_more_is_said_on_request(cells: tuple[AnnData, AnnData], capsys: pytest.CaptureFixture[str]) -> None:
    query = cells[1].copy()
    with gs.settings.override(verbosity=2, progress_bar=False):
        gs.tl.classify(query, cells[0])
    said = "\n".join(lines(capsys))
    assert f"running classification of {len(query)} cells" in said
    assert ".obs['ginseng_cell_type']" in said


def test_a_logger_of_the_user_gets_the_line(cells: tuple[AnnData, AnnData], caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("ginseng")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, "ginseng"):
            gs.tl.classify(cells[1].copy(), cells[0])
    finally:
        logger.removeHandler(caplog.handler)
    record = caplog.records[0]
    assert record.levelno == logging.INFO
    assert f"{len(cells[1])} cells" in record.getMessage()


def test_jupyter_without_widgets_gets_no_warning() -> None:
    """The import of tqdm warns there, unless it has been imported before."""
    code = """
import sys, types, warnings
shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
sys.modules["ipykernel"] = types.ModuleType("ipykernel")
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = lambda: shell
sys.modules["ipywidgets"] = None
warnings.simplefilter("always")
import {name}
for name in getattr({name}, "__all__"):
    getattr({name}, name)
"""

    def warned(name: str) -> bool:
        run = subprocess.run([sys.executable, "-c", code.replace("{name}", name)], capture_output=True, check=True)
        return b"TqdmWarning" in run.stderr

    assert warned("tqdm.auto")  # so the test can fail
    assert not warned("ginseng")
