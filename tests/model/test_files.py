"""Saving and loading: paths, interruptions, and what is refused."""

import dataclasses
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from anndata import AnnData

import ginseng as gs
from ginseng import load_model, save_model
from ginseng._core import registry
from ginseng.model import GinsengClassifierState, ModelFileError
from ginseng.model.file import is_model_file

type Make = Callable[..., GinsengClassifierState]


@pytest.mark.parametrize("architecture", registry.names())
@pytest.mark.parametrize(
    "changes",
    [{}, {"target_sum": None}, {"library_size": "all_genes", "history": {}, "reference": None, "info": {}}],
)
def test_round_trip(
    random_state: Make, assert_equal: Callable[..., None], tmp_path: Path, architecture: str, changes: dict[str, Any]
) -> None:
    state = dataclasses.replace(random_state(architecture), **changes)
    save_model(state, tmp_path / "model.h5")
    assert_equal(load_model(tmp_path / "model.h5"), state)
    assert is_model_file(tmp_path / "model.h5")


@pytest.mark.parametrize(("reference", "version"), [(True, "1.2"), (False, "1.0")])
def test_earlier_versions_read_what_they_can(random_state: Make, tmp_path: Path, reference: bool, version: str) -> None:
    state = random_state()
    save_model(state if reference else dataclasses.replace(state, reference=None), tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        assert file.attrs["format_version"].decode() == version
        assert ("reference" in file) == reference


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", np.zeros(3), "'reference/mean' has shape"),
        ("classes", np.full((3, 12), np.nan), "'reference/classes' has values that are NaN"),
        ("cells", np.array([1, -1, 1]), "below 0"),
        ("share", None, "'reference' has"),
    ],
)
def test_a_reference_that_is_none_is_refused(
    random_state: Make, tmp_path: Path, name: str, value: Any, message: str
) -> None:
    state = random_state()
    state.reference = {k: v for k, v in {**state.reference, name: value}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        save_model(state, tmp_path / "model.h5")
    assert not list(tmp_path.iterdir())


def test_settings_of_the_architecture_come_back(random_state: Make, tmp_path: Path) -> None:
    state = random_state("gated", gate_dim=3, n_layers=1)
    save_model(state, tmp_path / "model.h5")
    assert load_model(tmp_path / "model.h5").network == state.network


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("atlas", "atlas.h5"), ("atlas.h5", "atlas.h5"), ("atlas.v2", "atlas.v2.h5"), ("atlas.v2.h5", "atlas.v2.h5"),
        ("atlas.hdf5", "atlas.hdf5"), ("new/folders/atlas", "new/folders/atlas.h5"), ("γδ T", "γδ T.h5"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [str, Path])
def test_paths(random_state: Make, tmp_path: Path, given: str, written: str, kind: type) -> None:
    save_model(random_state(), kind(tmp_path / given))
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [written]
    load_model(kind(tmp_path / written))


def test_an_interrupted_save_leaves_the_old_file(
    random_state: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.h5"
    save_model(random_state(), path)
    before = path.read_bytes()
    create, calls = h5py.Group.create_dataset, []

    def interrupted(self: h5py.Group, name: str, *args: Any, **kwargs: Any) -> h5py.Dataset:
        calls.append(name)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return create(self, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(random_state(seed=1), path)
    assert len(calls) == 5
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


UNSAVABLE: list[tuple[Callable[[GinsengClassifierState], Any], str]] = [
    (lambda s: s.params["head"]["W"].fill(np.nan), "NaN or infinite"),
    (lambda s: s.params["head"].update(W=np.ones((2, 2), np.float32)), "has shape"),
    (lambda s: s.params.pop("head"), "'params' has"),
    (lambda s: s.label_keys.__setitem__(1, s.label_keys[0]), "not unique"),
    (lambda s: s.genes.__setitem__(1, "a\nb"), "not plain text"),
    (lambda s: setattr(s, "label_keys", np.array(["", "a", "b"])), "empty"),
    (lambda s: setattr(s, "label_keys", np.array(["x" * 257, "a", "b"])), "too long"),
]


@pytest.mark.parametrize(("spoil", "message"), UNSAVABLE)
def test_what_could_not_be_loaded_is_not_saved(
    random_state: Make, tmp_path: Path, spoil: Callable[[GinsengClassifierState], Any], message: str
) -> None:
    path = tmp_path / "model.h5"
    save_model(random_state(), path)
    before = path.read_bytes()
    state = random_state(seed=1)
    spoil(state)
    with pytest.raises(ValueError, match=message):
        save_model(state, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("length", [59_000, 70_000, 3_000_000])
def test_long_notes_are_kept(
    random_state: Make, assert_equal: Callable[..., None], tmp_path: Path, length: int
) -> None:
    state = dataclasses.replace(
        random_state(), reference=None, info={"note": "γ" * (length // 6)}
    )  # six characters of JSON
    save_model(state, tmp_path / "model.h5")
    assert_equal(load_model(tmp_path / "model.h5"), state)
    with h5py.File(tmp_path / "model.h5") as file:
        assert ("info" in file) == (length > 60_000)
        assert file.attrs["format_version"] == (b"1.1" if length > 60_000 else b"1.0")
    if length > 60_000:
        with h5py.File(tmp_path / "model.h5", "a") as file:
            assert file["info"][20] == ord("b")
            file["info"][20] = ord("c")
        with pytest.raises(ModelFileError, match="SHA-256"):
            load_model(tmp_path / "model.h5")


@pytest.mark.parametrize("content", [b"thesis", "10x"])
def test_what_is_no_model_is_not_replaced(random_state: Make, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "matrix.h5"
    if content == "10x":
        with h5py.File(path, "w") as file:
            file["matrix/data"] = [1, 2, 3]
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"matrix\.h5 exists and is not a model, so it is not replaced"):
        save_model(random_state(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"")  # as `tempfile` makes them
    save_model(random_state(), path)
    load_model(path)


def test_a_missing_file_names_the_models_there(random_state: Make, tmp_path: Path) -> None:
    save_model(random_state(), tmp_path / "atlas.h5")
    with pytest.raises(FileNotFoundError, match=r"There is no model at .*atlsa\.h5\. Models there: atlas\.h5"):
        load_model(tmp_path / "atlsa.h5")
    with pytest.raises(FileNotFoundError, match="There is no model at"):
        load_model(tmp_path / "nowhere" / "atlas.h5")


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04" * 100])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.h5 is not a readable model"):
        load_model(path)
    assert not is_model_file(path)


def test_a_folder(random_state: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"is a folder, not a model file\.$"):
        load_model(tmp_path)
    save_model(random_state(), tmp_path / "atlas.h5")
    with pytest.raises(ModelFileError, match=r"is a folder, not a model file\. There are: atlas\.h5\.$"):
        load_model(tmp_path)
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(FileExistsError, match=r"folder\.h5 exists and is a folder, not a model, so it is not replaced"):
        save_model(random_state(), tmp_path / "folder.h5")


@pytest.fixture(params=["pipe", "link to a pipe", "socket", "device"])
def special(request: pytest.FixtureRequest, in_memory: Path) -> Iterator[tuple[Path, str]]:
    """Yield the path of something that can be opened for ever, and what it is."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("has no pipes")
    path, listening = in_memory / "special.h5", socket.socket(socket.AF_UNIX)
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "link to a pipe":
            os.mkfifo(in_memory / "pipe")
            path.symlink_to("pipe")
        case "socket":
            listening.bind(str(path))
        case "device":
            path.symlink_to("/dev/null")
    yield path, request.param.split()[-1]
    listening.close()


def test_what_is_no_file_is_neither_opened_nor_replaced(
    random_state: Make, special: tuple[Path, str], in_child: Callable[..., Any]
) -> None:
    path, kind = special
    state, cells = random_state("linear"), AnnData(np.ones((2, 12), np.float32))
    mtx = path.with_name("10x")
    mtx.mkdir()
    (mtx / "matrix.mtx").symlink_to(path)
    for name in ("genes.tsv", "barcodes.tsv"):
        (mtx / name).write_text("a\n")

    def tried() -> list[str]:
        calls: list[Callable[[], Any]] = [
            lambda: gs.load_model(path), lambda: gs.tl.classify(cells, path), lambda: gs.tl.classify(path, state),
            lambda: gs.read_adata(path), lambda: gs.read_10x_h5(path), lambda: gs.read_10x_mtx(path),
            lambda: gs.read_adata(path, backed=True), lambda: gs.read_10x_mtx(mtx), lambda: gs.save_model(state, path),
        ]  # fmt: skip
        signal.alarm(20)  # what waits for ever is ended
        found = []
        for call in calls:
            try:
                call()
            except (ValueError, FileExistsError) as error:
                found.append(str(error))
        return found

    found = in_child(tried)
    assert len(found) == 9
    assert all(re.search(f"(special.h5|matrix.mtx).* is a (named )?{kind}", message) for message in found), found
    assert not path.is_file()
    assert path.exists()


@pytest.mark.parametrize("trained", [False, True])
def test_data_given_as_a_model_are_named(random_state: Make, tmp_path: Path, trained: bool) -> None:
    path = tmp_path / "cells.h5ad"
    state = random_state("linear")
    AnnData(np.ones((2, 3), np.float32), uns={"ginseng": {"model": state.to_dict()}} if trained else {}).write_h5ad(
        path
    )
    with pytest.raises(
        ModelFileError, match=r"holds cells \(AnnData\).*`gs\.tl\.classify\('.*cells\.h5ad', model\)`"
    ) as error:
        load_model(path)
    assert ("gs.read_adata" in str(error.value)) == trained
    with h5py.File(tmp_path / "10x.h5", "w") as file:
        file["matrix/data"] = [1, 2, 3]
    with pytest.raises(ModelFileError, match=r"holds counts.*`gs\.tl\.classify\('.*10x\.h5', model\)`"):
        load_model(tmp_path / "10x.h5")


def first(file: h5py.File, **more: Any) -> None:
    """Write what a file of ginseng 0.2 has."""
    file.attrs.update(
        {"n_genes": 4, "n_classes": 2, "hidden_dim": 3, "dropout_rate": 0.2, "normalize": True, "training": False}
    )
    file.update(
        {"genes": np.array([b"a", b"b", b"c", b"d"]), "label_keys": np.array([b"x", b"y"]), "label_values": [0, 1]}
    )
    for layer, shape in registry.shapes(registry.get("instance", {"hidden_dim": 3}), 4, 2).items():
        file[f"params/{layer}/W"], file[f"params/{layer}/b"] = (
            np.zeros(shape["W"].shape, "f4"),
            np.zeros(shape["b"].shape, "f4"),
        )


NOT_QUITE: dict[str, Callable[[h5py.File], Any]] = {
    "another member": lambda f: f.__setitem__("thesis", 1),
    "no label values": lambda f: f.__delitem__("label_values"),
    "other label values": lambda f: (f.__delitem__("label_values"), f.__setitem__("label_values", [0, 1, 2])),
    "no number": lambda f: f.attrs.__delitem__("dropout_rate"),
    "another layer": lambda f: f.__setitem__("params/more/W", 1),
    "another weight": lambda f: f.__setitem__("params/head/more", 1),
    "a layer less": lambda f: f.__delitem__("params/head"),
    "another format": lambda f: f.attrs.__setitem__("format", np.bytes_(b"keras")),
    "a checkpoint": lambda f: f.attrs.__setitem__("format", np.bytes_(b"ginseng-checkpoint")),
}


@pytest.mark.parametrize("name", NOT_QUITE)
def test_what_only_resembles_a_model_is_not_replaced(random_state: Make, tmp_path: Path, name: str) -> None:
    path = tmp_path / "notes.h5"
    with h5py.File(path, "w") as file:
        first(file)
    assert is_model_file(path)
    with h5py.File(path, "a") as file:
        NOT_QUITE[name](file)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"notes\.h5 exists and is not a model, so it is not replaced"):
        save_model(random_state(), path)
    assert path.read_bytes() == before
    with h5py.File(path, "w") as file:
        first(file)
    save_model(random_state(), path)
    load_model(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files(random_state: Make, tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.h5"
    save_model(random_state(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelFileError):
        load_model(path)


def set_attribute(path: Path, **attributes: Any) -> None:
    with h5py.File(path, "a") as file:
        for name, value in attributes.items():
            file.attrs[name] = np.bytes_(value)


def test_a_later_format_says_what_to_do(random_state: Make, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    save_model(random_state(), path)
    set_attribute(path, format_version=b"2.0", written_by=b"ginseng 9.1")
    with pytest.raises(ModelFileError, match=r"written by ginseng 9\.1 in format 2\.0.*pip install -U ginseng"):
        load_model(path)


def test_another_format(random_state: Make, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    save_model(random_state(), path)
    set_attribute(path, format=b"keras")
    with pytest.raises(ModelFileError, match="its format is 'keras'"):
        load_model(path)


def test_no_more_memory_than_allowed(random_state: Make, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    save_model(random_state(), path)
    with pytest.raises(ModelFileError, match="`max_bytes=` sets the limit"):
        load_model(path, max_bytes=1000)
    load_model(path, max_bytes=100_000)


def test_the_home_folder(state: GinsengClassifierState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save_model(state, "~/model.h5")
    assert load_model("~/model.h5").genes.tolist() == state.genes.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]
