"""Zarr folders that are made to do harm: each is refused before zarr opens it."""

import json
import os
import pickle
import resource
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import ginseng as gs
from ginseng.data import GinsengDataset
from ginseng.data._store import is_store
from ginseng.data._zarr_checks import check_zarr

type Make = Callable[..., ad.AnnData]
type Attack = Callable[[Path], Any]

PICKLE = {"id": "pickle", "protocol": 5}


def write(adata: ad.AnnData, path: Path, version: int, *, consolidated: bool = True) -> None:
    ad.io.write_elem(zarr.open_group(path, mode="w", zarr_format=version), "/", adata)
    if consolidated:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
            zarr.consolidate_metadata(str(path), zarr_format=version)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.fixture(scope="module")
def originals(make_cells: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    paths = {v: tmp_path_factory.mktemp("zarr") / f"v{v}.zarr" for v in (2, 3)}
    for version, path in paths.items():
        adata = make_cells()
        adata.obsm["X_pca"] = np.ones((120, 2))
        write(adata, path, version)
    return paths


@pytest.fixture
def copies(originals: dict[int, Path], tmp_path: Path) -> dict[int, Path]:
    import shutil

    return {v: Path(shutil.copytree(path, tmp_path / path.name)) for v, path in originals.items()}


def edit(path: str, change: Callable[[dict[str, Any]], Any]) -> Attack:
    def attack(root: Path) -> None:
        found = json.loads((root / path).read_bytes())
        change(found)
        (root / path).write_text(json.dumps(found))

    return attack


def put(path: str, **values: Any) -> Attack:
    return edit(path, lambda found: found.update(values))


def code(*, filters: list[Any], compressor: Any = None, dtype: Any = "|O") -> Attack:
    """Store a pickle where text is expected."""

    def attack(root: Path) -> None:
        put("obs/_index/values/.zarray", filters=filters, compressor=compressor, dtype=dtype)(root)
        for chunk in (root / "obs/_index/values").glob("[0-9]*"):
            chunk.write_bytes(pickle.dumps(Payload()))
        (root / ".zmetadata").unlink(missing_ok=True)

    return attack


def link(path: str, target: str) -> Attack:
    def attack(root: Path) -> None:
        (root / path).rename(root.parent / "outside")
        (root / path).symlink_to(target.format(root=root))

    return attack


def both(*attacks: Attack) -> Attack:
    return lambda root: [attack(root) for attack in attacks]


CONSOLIDATED = "consolidated_metadata"

V2: dict[str, tuple[Attack, str]] = {
    "pickle, first filter": (code(filters=[PICKLE, {"id": "vlen-utf8"}]), "obs/_index/values.*codecs.*do.*pickle"),
    "pickle, second filter": (code(filters=[{"id": "vlen-utf8"}, PICKLE]), "pickle"),
    "pickle as compressor": (code(filters=[{"id": "vlen-utf8"}], compressor=PICKLE), "pickle"),
    "pickle of numbers": (put("X/data/.zarray", filters=[PICKLE]), "X/data"),
    "pickle in consolidated metadata alone": (
        edit(".zmetadata", lambda m: m["metadata"]["X/data/.zarray"].update(filters=[PICKLE])), "X/data.*pickle",
    ),
    "json2": (put("X/data/.zarray", filters=[{"id": "json2"}]), "json2"),
    "msgpack2": (put("X/data/.zarray", filters=[{"id": "msgpack2"}]), "msgpack2"),
    "categorize": (put("X/data/.zarray", filters=[{"id": "categorize"}]), "categorize"),
    "unknown codec": (put("X/data/.zarray", compressor={"id": "os.system"}), "os.system"),
    "objects without a codec": (put("X/data/.zarray", dtype="|O", filters=None), "holds objects"),
    "objects in a record": (put("X/data/.zarray", dtype=[["a", "|O"], ["b", "<i4"]]), "holds objects"),
    "codec without a name": (put("X/data/.zarray", compressor={}), "cannot be read"),
    "dtype that is none": (put("X/data/.zarray", dtype="import os"), "cannot be read"),
    "shape bomb": (put("X/data/.zarray", shape=[10**12], chunks=[1000]), r"declares 4,000,000,000,000 bytes"),
    "chunk bomb": (put("X/data/.zarray", chunks=[10**12]), "declares"),
    "text bomb": (put("obs/_index/values/.zarray", shape=[10**11]), "declares"),
    "shape of text": (put("X/data/.zarray", shape=["a"]), "cannot be read"),
    "more dimensions than chunks": (put("X/data/.zarray", shape=[1, 2]), "cannot be read"),
    "consolidated leads outside": (
        edit(".zmetadata", lambda m: m["metadata"].update({"../v3.zarr/X/.zarray": m["metadata"]["X/data/.zarray"]})),
        "lead out of the folder",
    ),
    "consolidated is text": (put(".zmetadata", metadata="x"), "cannot be read"),
}  # fmt: skip

V3: dict[str, tuple[Attack, str]] = {
    "pickle": (put("X/data/zarr.json", codecs=[{"name": "numcodecs.pickle"}]), "X/data.*pickle"),
    "pickle by its name alone": (put("X/data/zarr.json", codecs=["numcodecs.pickle"]), "pickle"),
    "pickle in a shard": (
        put("X/data/zarr.json", codecs=[{"name": "sharding_indexed", "configuration": {"codecs": ["pickle"]}}]),
        "pickle",
    ),
    "pickle in the index of a shard": (
        put("X/data/zarr.json", codecs=[{
            "name": "sharding_indexed", "configuration": {"codecs": ["bytes"], "index_codecs": ["pickle"]},
        }]),
        "pickle",
    ),
    "pickle in consolidated metadata alone": (
        edit("zarr.json", lambda m: m[CONSOLIDATED]["metadata"]["X/data"].update(codecs=["pickle"])), "X/data.*pickle",
    ),
    "unknown codec": (put("X/data/zarr.json", codecs=[{"name": "bytes"}, {"name": "custom"}]), "custom"),
    "no codecs": (edit("X/data/zarr.json", lambda m: m.pop("codecs")), "cannot be read"),
    "shape bomb": (put("X/data/zarr.json", shape=[10**12]), "declares"),
    "bombs, each small": (
        lambda root: [
            (lambda p: (p.mkdir(), (p / "zarr.json").write_text((root / "obsm/X_pca/zarr.json").read_text()),
                        put(f"obsm/bomb{i}/zarr.json", shape=[10**6, 10])(root)))(root / f"obsm/bomb{i}")
            for i in range(20)
        ],
        "declares 80,000,000 bytes and stores 0",
    ),
    "chunk bomb": (
        edit("X/data/zarr.json", lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[10**12])), "declares",
    ),
    "wide text": (
        put("X/data/zarr.json", data_type={"name": "fixed_length_utf32", "configuration": {"length_bytes": 2**40}}),
        "declares",
    ),
    "unknown grid": (put("X/data/zarr.json", chunk_grid={"name": "elsewhere"}), "unknown way"),
    "unknown names of chunks": (put("X/data/zarr.json", chunk_key_encoding={"name": "http"}), "unknown way"),
    "storage transformers": (put("X/data/zarr.json", storage_transformers=[{"name": "x"}]), "storage transformers"),
    "consolidated leads outside": (
        edit("zarr.json", lambda m: m[CONSOLIDATED]["metadata"].update({"../v2.zarr/X": {"node_type": "group"}})),
        "lead out of the folder",
    ),
    "consolidated leads to the top": (
        edit("zarr.json", lambda m: m[CONSOLIDATED]["metadata"].update({"/etc": {"node_type": "group"}})),
        "lead out of the folder, to '/etc'",
    ),
    "link to a file outside": (link("X/data/zarr.json", "../../../outside"), "'X/data/zarr.json' is a link.*cp -rL"),
    "link to a folder outside": (link("X", "../outside"), "'X' is a link"),
    "link to itself": (link("X/data", "{root}"), "is a link"),
    "broken link": (link("X/data", "/nowhere"), "is a link"),
    "a pipe, which never answers": (
        lambda root: ((root / "X/data/zarr.json").unlink(), os.mkfifo(root / "X/data/zarr.json")), "neither a file nor",
    ),
    "no JSON": (lambda root: (root / "X/zarr.json").write_text("{"), "'X/zarr.json' cannot be read"),
    "a list": (lambda root: (root / "X/zarr.json").write_text("[]"), "no JSON object"),
    "deep JSON": (lambda root: (root / "X/zarr.json").write_text('{"a":' * 200_000), "cannot be read"),
    "not UTF-8": (lambda root: (root / "X/zarr.json").write_bytes(b'{"\xff\xfe": 1}'), "cannot be read"),
    "long JSON": (lambda root: os.truncate(root / "X/zarr.json", 2**30), "over 67,108,864 bytes"),
}  # fmt: skip


def refused(path: Path, message: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for open_it in (gs.read_adata, lambda path: gs.read_adata(path, backed=True), GinsengDataset):
        with pytest.raises(ValueError, match=rf"(?s){path.name}.* is not opened: .*{message}"):
            open_it(path)
    assert not is_store(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50 * (2**20 if sys.platform == "darwin" else 2**10)


@pytest.mark.parametrize(
    ("version", "name"), [(2, name) for name in V2] + [(3, name) for name in V3], ids=lambda value: str(value)
)
def test_refused(
    version: int, name: str, copies: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack, message = (V2 if version == 2 else V3)[name]
    attack(copies[version])
    monkeypatch.chdir(tmp_path)  # where a payload would leave its mark
    refused(copies[version], message)
    assert not (tmp_path / "ran").exists()


def test_the_table_is_long() -> None:
    assert len(V2) + len(V3) >= 40


@pytest.mark.parametrize("version", [2, 3])
def test_what_does_no_harm_is_read(version: int, originals: dict[int, Path], make_cells: Make) -> None:
    for backed in (False, True):
        adata = gs.read_adata(originals[version], backed=backed).to_memory()
        np.testing.assert_array_equal(adata.X.toarray(), make_cells().X.toarray())


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_all_that_anndata_writes_is_read(version: int, consolidated: bool, make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    adata.layers["dense"] = adata.X.toarray()
    adata.layers["csc"] = sparse.csc_matrix(adata.X)
    adata.layers["zeros"] = np.zeros(adata.shape)
    adata.obs["flag"] = np.arange(120) % 2 == 0
    adata.obs["text"] = [f"text {i}" for i in range(120)]
    adata.obs["maybe"] = pd.array([1, None] * 60, dtype="Int64")
    adata.obsm["X_pca"] = np.ones((120, 5), np.float32)
    adata.uns["nested"] = {"a": 1, "b": "text", "c": np.array(["x", "y"]), "d": {"e": 1.5}, "f": True}
    adata.raw = adata.copy()
    write(adata, tmp_path / "a.zarr", version, consolidated=consolidated)
    back = gs.read_adata(tmp_path / "a.zarr")
    assert back.uns["nested"]["b"] == "text"
    np.testing.assert_array_equal(back.layers["dense"], adata.layers["dense"])


def test_a_link_to_a_store_is_followed(originals: dict[int, Path], tmp_path: Path) -> None:
    (tmp_path / "link.zarr").symlink_to(originals[3])
    assert gs.read_adata(tmp_path / "link.zarr").n_obs == 120


def test_large_arrays_of_nothing_are_fine_up_to_the_allowance(tmp_path: Path) -> None:
    """Zeros are not stored."""
    zarr.create_array(tmp_path / "a.zarr", shape=(120, 10**6), chunks=(120, 1000), dtype="f4", fill_value=0)
    check_zarr(tmp_path / "a.zarr", "a")
    zarr.create_array(tmp_path / "b.zarr", shape=(1200, 10**6), chunks=(120, 1000), dtype="f4", fill_value=0)
    with pytest.raises(ValueError, match="declares 4,800,000,000 bytes and stores 0"):
        check_zarr(tmp_path / "b.zarr", "b")
