"""One schema defines a file: reading, writing and the documentation follow from it."""

import dataclasses
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ginseng._disk.schema_entries import Array
from ginseng.model import GinsengClassifierState, ModelFileError, file, load_model, save_model, state
from ginseng.model.schema import FIRST, MODEL
from ginseng.train.checkpoint import CHECKPOINT

type Make = Callable[..., GinsengClassifierState]
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def tables() -> Any:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documentation_is_up_to_date(tables: Any) -> None:
    """If this fails, run `python docs/tables.py`."""
    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    assert tables.renewed(text) == text
    assert tables.renewed(text.replace("| `genes` |", "| `gene` |")) == text
    with pytest.raises(ValueError, match="no place for the table of the model file"):
        tables.renewed(text.replace("table of the model file", ""))


def test_the_documentation_names_all_that_is_in_a_file(random_state: Make, calibrated: Make, tmp_path: Path) -> None:
    state = calibrated(random_state())
    state.other_names = np.array([f"ENSG{i:011}" for i in range(state.n_genes)])
    state.levels = {"broad": ["all"] * state.n_classes, "fine": state.label_keys.tolist()}
    save_model(state, tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as found:
        there = {*found.attrs, *found}
    documented = {name.split("/")[0] for name in re.findall(r"`([\w/<>.]+)`(?=[,` \w]*\|)", MODEL.table())}
    assert there == documented


@pytest.mark.parametrize("schema", [MODEL, FIRST, CHECKPOINT], ids=["model", "first", "checkpoint"])
def test_names_are_unique_and_sizes_come_first(schema: Any) -> None:
    names = [entry.name for entry in schema.entries]
    assert len(names) == len({*names})
    known: set[Any] = set()
    for entry in schema.entries:
        if isinstance(entry, Array):
            assert {size for size in entry.shape if isinstance(size, str)} <= known
        known |= {entry.name, getattr(entry, "size", "")}


@dataclasses.dataclass(repr=False)
class Extended(GinsengClassifierState):
    gene_means: np.ndarray | None = None


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version of the format with one more array."""
    means = Array("gene_means", "mean of each gene", "<f4", ("n_genes",), since="1.3", optional=True)
    schema = dataclasses.replace(MODEL, entries=(*MODEL.entries, means))
    for module in (state, file):
        monkeypatch.setattr(module, "MODEL", schema)
    monkeypatch.setattr(file, "GinsengClassifierState", Extended)


def test_an_optional_array_takes_a_row(
    extended: None, random_state: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = random_state("linear")
    whole = Extended(**vars(plain), gene_means=np.arange(12, dtype=np.float32))
    for name, given, version in (("plain", Extended(**vars(plain)), b"1.2"), ("whole", whole, b"1.3")):
        path = tmp_path / f"{name}.h5"
        save_model(given, path)
        with h5py.File(path) as found:
            assert found.attrs["format_version"] == version
            assert ("gene_means" in found) == (name == "whole")
        loaded: Any = load_model(path)
        np.testing.assert_array_equal(loaded.gene_means, given.gene_means)
        np.testing.assert_array_equal(Extended.from_dict(given.to_dict()).gene_means, given.gene_means)
    with h5py.File(path, "a") as found:  # part of the digest
        found["gene_means"][3] += 1
    with pytest.raises(ModelFileError, match="SHA-256"):
        load_model(path)
    with h5py.File(path, "a") as found:
        del found["gene_means"]
        found["gene_means"] = np.zeros(11, "f4")
    with pytest.raises(ModelFileError, match="'gene_means'"):
        load_model(path)
    monkeypatch.undo()  # today's reader
    load_model(tmp_path / "plain.h5")
    with pytest.raises(ModelFileError, match="'gene_means'"):
        load_model(path)
