"""Zarr folders that are made to do harm: each is refused before zarr opens it."""

import json
import os
import pickle
import resource
import shutil
import struct
import sys
import warnings
import zlib
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
from ginseng._disk.zarr_chunks import Chunks, Packing
from ginseng._disk.zarr_guard import check_zarr
from ginseng.data import GinsengDataset
from ginseng.data._store import is_store

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


def zstd(n_blocks: int, says: int | None = None, *, block: int = 2**17) -> bytes:
    """Return a frame of so many blocks of zeros, four bytes each, that may say another size."""
    size = b"\x00\x38" if says is None else b"\xa0" + struct.pack("<I", says)
    last = [i == n_blocks - 1 for i in range(n_blocks)]
    blocks = b"".join(struct.pack("<I", block << 3 | 1 << 1 | end)[:3] + b"\0" for end in last)
    return b"\x28\xb5\x2f\xfd" + size + blocks


def blosc(size: int) -> bytes:
    return struct.pack("<BBBBIII", 2, 1, 0x21, 4, size, min(size, 2**18), 100).ljust(100, b"\0")


def gzip(size: int) -> bytes:
    """Return zeros, a hundred megabytes of which take a hundred kilobytes; it says that they are few."""
    packer = zlib.compressobj(wbits=31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()
    return packed[:-4] + struct.pack("<I", 4000)


def alone(root: Path) -> None:
    """Leave what each array says of itself."""
    if (root / ".zmetadata").exists():
        (root / ".zmetadata").unlink()
    else:
        edit("zarr.json", lambda found: found.pop("consolidated_metadata"))(root)


def bomb(packed: bytes, compressor: str, array: str = "X/data") -> Attack:
    """Put a chunk in the place of one, which unfolds to more than its array declares."""

    def attack(root: Path) -> None:
        metadata = root / array / ".zarray"
        if metadata.exists():
            found = json.loads(metadata.read_bytes())
            found["compressor"] = {"id": compressor}
            alone(root)
        else:
            metadata = root / array / "zarr.json"
            found = json.loads(metadata.read_bytes())
            found["codecs"] = [{"name": "bytes"}, {"name": compressor, "configuration": {}}]
            alone(root)
        metadata.write_text(json.dumps(found))
        for chunk in [p for p in (root / array).rglob("*") if p.name.isdigit() and p.is_file()]:
            chunk.write_bytes(packed)

    return attack


UNFOLDS = {
    "zstd": (zstd(8000), "zstd", "1,048,576,000 bytes or more, but has room for"),
    "zstd, by what it says": (zstd(1, 2**31), "zstd", "2,147,483,648 bytes"),
    "zstd, second frame": (zstd(1, 2**17) + zstd(8000), "zstd", "1,048,707,072 bytes"),
    "zstd, after what is skipped": (b"\x50\x2a\x4d\x18\2\0\0\0ab" + zstd(8000), "zstd", "1,048,576,000 bytes"),
    "zstd that is none": (b"hello, world", "zstd", "is not Zstandard"),
    "zstd cut short": (zstd(3)[:12], "zstd", "ends too early"),
    "blosc": (blosc(2**31 - 1), "blosc", "2,147,483,647 bytes"),
    "lz4": (struct.pack("<I", 2**31 - 1) + b"\0" * 20, "lz4", "2,147,483,647 bytes"),
    "gzip that lies": (gzip(100 * 2**20), "gzip", "bytes or more, but has room for"),
    "gzip, second part": (
        zlib.compress(b"a", wbits=31) + bytes(2**17) + gzip(2**27),
        "gzip",
        "bytes or more, but has room for",
    ),
    "zlib": (zlib.compress(bytes(100 * 2**20)), "zlib", "bytes or more, but has room for"),
}


def sharded(root: Path) -> None:
    """Pack the counts into one file with an index, whose second chunk is a bomb."""
    metadata = root / "X/data/zarr.json"
    found = json.loads(metadata.read_bytes())
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd", "configuration": {}}]
    config = {"chunk_shape": [1000], "codecs": codecs, "index_codecs": codecs[:1], "index_location": "end"}
    found["codecs"] = [{"name": "sharding_indexed", "configuration": config}]
    found["chunk_grid"]["configuration"]["chunk_shape"] = [3000]
    metadata.write_text(json.dumps(found))
    alone(root)
    chunks = [zstd(1, 4000, block=4000), zstd(8000)]
    index = [0, len(chunks[0]), len(chunks[0]), len(chunks[1]), 2**64 - 1, 2**64 - 1]
    (root / "X/data/c/0").write_bytes(b"".join(chunks) + struct.pack("<6Q", *index))


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
        "outside of the folder",
    ),
    "consolidated is text": (put(".zmetadata", metadata="x"), "cannot be read"),
    "packed twice": (put("X/data/.zarray", filters=[{"id": "zlib"}], compressor={"id": "zlib"}), "unknown way"),
    "changed once packed": (put("X/data/.zarray", filters=[{"id": "zlib"}, {"id": "delta"}]), "unknown way"),
    "lzma, which nothing bounds": (put("X/data/.zarray", compressor={"id": "lzma"}), "does not run: lzma"),
    "unknown names of chunks": (put("X/data/.zarray", dimension_separator="x"), "unknown way"),
    **{f"unfolds: {k}": (bomb(packed, c), f"'X/data/0' .*{m}") for k, (packed, c, m) in UNFOLDS.items()},
    "text unfolds": (bomb(zstd(8000), "zstd", "obs/_index/values"), "1,048,576,000 bytes or more, but stores"),
    "unfolds by consolidated metadata alone": (
        both(
            edit(".zmetadata", lambda m: m["metadata"]["X/data/.zarray"].update(compressor={"id": "zstd"})),
            lambda root: [chunk.write_bytes(zstd(8000)) for chunk in (root / "X/data").glob("[0-9]*")],
            put("X/data/.zarray", compressor=None),
        ),
        "1,048,576,000 bytes",
    ),
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
        edit("X/data/zarr.json", lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[10**12])),
        "declares|ends too early",
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
        "outside of the folder",
    ),
    "consolidated leads to the top": (
        edit("zarr.json", lambda m: m[CONSOLIDATED]["metadata"].update({"/etc": {"node_type": "group"}})),
        "'/etc', outside",
    ),
    "link to a file outside": (link("X/data/zarr.json", "../../../outside"), "'X/data/zarr.json' is a link.*cp -rL"),
    "link to a folder outside": (link("X", "../outside"), "'X' is a link"),
    "link to itself": (link("X/data", "{root}"), "is a link"),
    "broken link": (link("X/data", "/nowhere"), "is a link"),
    "a pipe, which never answers": (
        lambda root: ((root / "X/data/zarr.json").unlink(), os.mkfifo(root / "X/data/zarr.json")), "neither a file nor",
    ),
    "no JSON": (lambda root: (root / "X/zarr.json").write_text("{"), "'X/zarr.json' cannot be read"),
    "a list": (lambda root: (root / "X/zarr.json").write_text("[]"), "not a JSON object"),
    "deep JSON": (lambda root: (root / "X/zarr.json").write_text('{"a":' * 200_000), "cannot be read"),
    "not UTF-8": (lambda root: (root / "X/zarr.json").write_bytes(b'{"\xff\xfe": 1}'), "cannot be read"),
    **{f"unfolds: {k}": (bomb(packed, c), f"'X/data/c/0' .*{m}") for k, (packed, c, m) in UNFOLDS.items()},
    "unfolds in a shard": (sharded, "'X/data/c/0' unpacks to 1,048,576,000 bytes or more, but has room for 4,000"),
    "an index that leads out of its file": (
        both(sharded, lambda root: (root / "X/data/c/0").write_bytes(struct.pack("<6Q", 0, 2**40, 0, 0, 0, 0))),
        "out-of-bounds",
    ),
    "an index that would fill the memory": (
        both(
            sharded,
            edit("X/data/zarr.json", lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[10**10])),
            lambda root: os.truncate(root / "X/data/c/0", 2**30),
        ),
        "has an index of 160,000,000 bytes",
    ),
    "a shard cut short": (both(sharded, lambda root: os.truncate(root / "X/data/c/0", 20)), "ends too early"),
    "shards in a shard": (
        both(
            sharded,
            edit("X/data/zarr.json", lambda m: m.update(codecs=[{
                "name": "sharding_indexed", "configuration": {"chunk_shape": [1000], "codecs": m["codecs"]},
            }])),
        ),
        "unknown way",
    ),
    "many chunks that are not there": (
        both(
            put("obsm/X_pca/zarr.json", shape=[3 * 10**8, 1], data_type="uint8", fill_value=0),
        ),
        r"\d,\d{3},99\d of the chunks that 'obsm/X_pca' declares are not there",
    ),
    "an array within another": (
        lambda root: (root / "X/data/c/zarr.json").write_bytes((root / "X/data/zarr.json").read_bytes()),
        "'X/data/c' is an array inside another",
    ),
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
    assert len(V2) + len(V3) >= 80


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


def test_a_store_packs_its_counts_in_one_way(make_cells: Make, tmp_path: Path) -> None:
    """What reads them would unfold others to whatever they are."""
    path = tmp_path / "store.zarr"
    GinsengDataset.create(path, make_cells(), "cell_type", silent=True)
    metadata = json.loads((path / "X/data/zarr.json").read_bytes())
    metadata["codecs"][0]["configuration"]["codecs"] = [{"name": "bytes"}, {"name": "zstd", "configuration": {}}]
    (path / "X/data/zarr.json").write_text(json.dumps(metadata))
    shutil.rmtree(path / "X/data/c")
    with pytest.raises(ValueError, match="counts that are not compressed"):
        GinsengDataset(path)


@pytest.mark.parametrize("level", [1, 3, 9, 19])
@pytest.mark.parametrize("size", [1, 300, 70_000, 1_500_000])
def test_what_zstandard_says_is_at_least_what_it_unfolds_to(level: int, size: int, tmp_path: Path) -> None:
    from numcodecs import Zstd

    data = np.random.default_rng(0).geometric(0.2, size).astype("u1").tobytes()
    packed = Zstd(level).encode(data)
    for content in (packed, packed + b"\x50\x2a\x4d\x18\1\0\0\0a" + packed):
        (tmp_path / "c").write_bytes(content)
        (found,) = Chunks(1000).sizes(tmp_path / "c", len(content), Packing(2 * size, "zstd"))
        assert found == size * (1 if content is packed else 2)


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
