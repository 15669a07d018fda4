"""Damaged or malicious files are refused quickly, without opening any other file."""

import ctypes
import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest

from ginseng._core import registry
from ginseng._disk.strict_hdf5 import digest_of
from ginseng.model import GinsengClassifierState, ModelFileError, load_model, save_model

type Change = Callable[[h5py.File], Any]
LIMIT = 0.05  # seconds to refuse a file
SLOWER = {"many layers": 1.0, "many layers of a transformer": 1.0}  # JAX takes this long to work out their shapes
N_GENES, N_CLASSES, HIDDEN = 12, 3, 5
WEIGHTS = "params/head/W"  # (HIDDEN, N_CLASSES)


@pytest.fixture(scope="module")
def model(random_state: Callable[..., GinsengClassifierState], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.h5"
    save_model(random_state(n_members=1), path)
    return path


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copy.h5"
    path.write_bytes(model.read_bytes())
    return path


def replace(name: str, *args: Any, **kwargs: Any) -> Change:
    def change(file: h5py.File) -> h5py.Dataset:
        if name in file:
            del file[name]
        return file.create_dataset(name, *args, **kwargs)

    return change


def attribute(name: str, value: Any, **kwargs: Any) -> Change:
    def change(file: h5py.File) -> None:
        value_ = np.bytes_(value.encode()) if isinstance(value, str) else value
        file.attrs.create(name, value_, **kwargs)

    return change


def config(**settings: Any) -> Change:
    return attribute("config", json.dumps({"hidden_dim": HIDDEN, "dropout_rate": 0.25, **settings}))


def write(name: str, index: Any, value: Any) -> Change:
    return lambda file: file[name].__setitem__(index, value)


def delete(name: str) -> Change:
    return lambda file: file.__delitem__(name)


def link(name: str, target: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = target(file)

    return change


def cycle(file: h5py.File) -> None:
    del file["params/head"]
    file["params/head"] = file["params"]


def deep(file: h5py.File) -> None:
    del file[WEIGHTS]
    group = file["params/head"].create_group("W")
    for _ in range(2000):
        group = group.create_group("g")


def null(file: h5py.File) -> None:
    del file["genes"]
    file["genes"] = h5py.Empty("S5")


def filtered(name: str, shape: tuple[int, ...], dtype: Any, filters: list[tuple[int, tuple[int, ...]]]) -> Change:
    """Store a dataset with these filters and no data."""

    def change(file: h5py.File) -> None:
        del file[name]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(shape)
        for code, values in filters:
            plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL, values)
        kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
        h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), plan).close()

    return change


def inflating(file: h5py.File) -> None:
    """A chunk of 60 bytes that decompresses to 256 MB of zeros."""
    data = replace("genes", shape=(N_GENES,), dtype="S5", chunks=(N_GENES,), compression="gzip")(file)
    packer = zlib.compressobj(9)
    data.id.write_direct_chunk((0,), b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush())


def inflating_to_scale(file: h5py.File) -> None:
    """A chunk of its declared size that decompresses to a thousand times as much."""
    names = np.array([b"x" * 1000] * N_GENES)
    data = replace("genes", shape=(N_GENES,), dtype=names.dtype, chunks=(N_GENES,), compression="gzip")(file)
    data.id.write_direct_chunk((0,), zlib.compress(bytes(10 * 2**20), 9))


def large_chunk(file: h5py.File) -> None:
    data = replace("genes", shape=(N_GENES,), maxshape=(None,), dtype="S8", chunks=(2**27,), compression="gzip")(file)
    data.id.write_direct_chunk((0,), zlib.compress(bytes(10_000)))


def committed(file: h5py.File) -> None:
    del file["genes"]
    file["genes"] = np.dtype("f8")


def many_members(file: h5py.File) -> None:
    for i in range(500):
        file[f"params/head/x{i}"] = 1.0


def names_bomb(name: str, n: int, length: int) -> Change:
    """Distinct names that compress to a hundredth of their size or less."""

    def change(file: h5py.File) -> None:
        names = np.full((n, length), ord("x"), np.uint8)
        names[:, :8] = np.char.zfill(np.arange(n).astype("S8"), 8).view(np.uint8).reshape(n, 8)
        packed = {"compression": "gzip", "compression_opts": 1}
        replace(name, data=names.view(f"S{length}")[:, 0], chunks=(n,) if n * length < 2**24 else None, **packed)(file)

    return change


def info_bomb(text: bytes, **storage: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file.attrs["info"]
        replace("info", data=np.frombuffer(text, np.uint8), **storage)(file)

    return change


def many(group: str, n: int) -> Change:
    def change(file: h5py.File) -> None:
        if "x" not in file:
            file["x"] = np.ones(2)
        inside, root = file[group], file["/"]
        for i in range(n):
            inside.id.links.create_hard(f"x{i}".encode(), root.id, b"x")
        if group != "/":
            del file["x"]

    return change


def many_layers(architecture: str) -> Change:
    """As many layers as the settings say, all of them empty."""

    def change(file: h5py.File) -> None:
        attribute("architecture", architecture)(file)
        config(n_layers=64, n_members=64)(file)
        many("params", 80)(file)

    return change


GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 9}

GENES = np.array([f"gene{i}" for i in range(N_GENES)], "S")

DAMAGED: dict[str, Change] = {
    # links
    "soft link": link("genes", lambda f: h5py.SoftLink("/label_keys")),
    "soft link to itself": link("genes", lambda f: h5py.SoftLink("/genes")),
    "dangling soft link": link("params/head", lambda f: h5py.SoftLink("/nowhere")),
    "hard link cycle": cycle,
    "hard link to another dataset": link("params/head/b", lambda f: f["params/gate1/b"]),
    "deep nesting": deep,
    "group for dataset": lambda f: (f.__delitem__("genes"), f.create_group("genes")),
    "dataset for group": replace("params/head", data=np.zeros(3)),
    "type for dataset": committed,
    # sizes
    "shape bomb": replace("genes", shape=(1_000_000,), dtype="S1000", chunks=(1000,), compression="gzip"),
    "shape bomb, not allocated": replace("genes", shape=(1_000_000,), dtype="S1000"),
    "shape bomb in history": replace("history/epoch", shape=(10**12,), dtype="f8", chunks=(1000,), compression="gzip"),
    "too many dimensions": replace("genes", shape=(N_GENES, 1, 1), dtype="S5"),
    "chunk bomb": large_chunk,
    "inflating chunk": inflating,
    "inflating chunk, to scale": inflating_to_scale,
    "inflating chunk that is not shuffled": lambda f: replace(
        "genes", shape=(N_GENES,), dtype="S1000", chunks=(N_GENES,), compression="gzip", shuffle=True
    )(f).id.write_direct_chunk((0,), zlib.compress(bytes(10 * 2**20), 9), filter_mask=1),
    "chunk that is no deflate": lambda f: replace(
        "genes", shape=(N_GENES,), dtype="S5", chunks=(N_GENES,), compression="gzip"
    )(f).id.write_direct_chunk((0,), b"not deflate"),
    "double deflate": filtered("genes", (N_GENES,), "S5", [(1, (9,)), (1, (9,))]),
    "filter plugin": filtered("genes", (N_GENES,), "S5", [(32001, ())]),
    "szip": filtered("label_values", (N_CLASSES,), "i8", [(4, (4, 2))]),
    "no values": null,
    "no genes": replace("genes", shape=(0,), dtype="S5"),
    # types
    "strings of any length": replace("genes", data=GENES.astype(object), dtype=h5py.string_dtype()),
    "object references": replace("genes", shape=(N_GENES,), dtype=h5py.ref_dtype),
    "region references": replace("genes", shape=(N_GENES,), dtype=h5py.regionref_dtype),
    "compound": replace(WEIGHTS, shape=(HIDDEN, N_CLASSES), dtype=[("a", "f4"), ("b", "f4")]),
    "opaque": replace("genes", data=np.zeros(N_GENES, "V5")),
    "array type": replace(WEIGHTS, shape=(HIDDEN,), dtype=np.dtype(("f4", (N_CLASSES,)))),
    "integers for weights": replace(WEIGHTS, data=np.ones((HIDDEN, N_CLASSES), "i4")),
    "complex weights": replace(WEIGHTS, data=np.ones((HIDDEN, N_CLASSES), "c16")),
    "numbers for genes": replace("genes", data=np.arange(N_GENES)),
    "text for label values": replace("label_values", data=np.array([b"0", b"1", b"2"])),
    # contents
    "fewer labels": replace("label_keys", data=np.array([b"a", b"b"])),
    "more genes": replace("genes", data=np.append(GENES, b"more")),
    "fewer label values": replace("label_values", data=np.arange(2)),
    "transposed weights": replace(WEIGHTS, data=np.ones((N_CLASSES, HIDDEN), "f4")),
    "NaN": write(WEIGHTS, (0, 0), np.nan),
    "infinity": write(WEIGHTS, (0, 0), np.inf),
    "duplicate labels": replace("label_keys", data=np.array([b"a", b"a", b"b"])),
    "duplicate genes": replace("genes", data=GENES[[0, *range(11)]]),
    "empty label": replace("label_keys", data=np.array([b"a", b"", b"b"])),
    "terminal escape": replace("label_keys", data=np.array([b"a", b"\x1b[31mb", b"c"])),
    "line break": replace("genes", data=np.array([b"a\nb", *GENES[1:]])),
    "right to left override": replace("label_keys", data=np.char.encode(["a", "b\u202ec", "c"], "utf-8")),
    "long label": replace("label_keys", data=np.array([b"a", b"b" * 257, b"c"])),
    "very long label": replace("label_keys", data=np.array([b"a", b"b" * 2000, b"c"])),
    "not UTF-8": replace("genes", data=np.array([b"\xff\xfe", *GENES[1:]])),
    # members
    "no genes member": delete("genes"),
    "no params": delete("params"),
    "missing layer": delete("params/head"),
    "missing bias": delete("params/head/b"),
    "another member": replace("more", data=np.zeros(3)),
    "another layer": replace("params/more/W", data=np.zeros((3, 3), "f4")),
    "another weight": replace("params/head/V", data=np.zeros(3, "f4")),
    "many members": many_members,
    # attributes
    "no config": lambda f: f.attrs.__delitem__("config"),
    "no architecture": lambda f: f.attrs.__delitem__("architecture"),
    "no target sum": lambda f: f.attrs.__delitem__("target_sum"),
    "no version": lambda f: f.attrs.__delitem__("format_version"),
    "no format": lambda f: f.attrs.__delitem__("format"),
    "unknown architecture": attribute("architecture", "os.system"),
    "architecture is a number": attribute("architecture", 3),
    "architecture is not UTF-8": attribute("architecture", np.bytes_(b"\xff\xfe")),
    "text of any length": attribute("architecture", "gated", dtype=h5py.string_dtype()),
    "list of texts": attribute("architecture", np.array([b"gated"] * 1000)),
    "huge attribute": attribute("normalize", np.ones(8000)),
    "compound attribute": attribute("target_sum", np.zeros((), [("a", "f8")])),
    "normalize is text": attribute("normalize", "yes"),
    "negative target sum": attribute("target_sum", -1.0),
    "infinite target sum": attribute("target_sum", np.inf),
    "unknown library size": attribute("library_size", "some_genes"),
    "config: no JSON": attribute("config", "{"),
    "config: null": attribute("config", "null"),
    "config: list": attribute("config", "[]"),
    "config: number": attribute("config", "0"),
    "config: nested": attribute("config", "[" * 30_000),
    "config: long number": attribute("config", '{"hidden_dim": ' + "1" * 30_000 + "}"),
    "config: no settings": attribute("config", "{}"),
    "config: unknown setting": config(depth=3),
    "config: layers": config(n_layers=10**9),
    "config: width": config(gate_dim=10**12),
    "config: NaN": config(dropout_rate=float("nan")),
    "config: text": config(hidden_dim="64"),
    "config: other width": config(hidden_dim=HIDDEN + 1),
    "config: fewer layers": config(n_layers=1),
    "info: no JSON": attribute("info", "x"),
    "info: list": attribute("info", "[1]"),
    # history
    "history of text": replace("history/epoch", data=np.array([b"a"])),
    "history of groups": lambda f: f.create_group("history/more/more"),
    "history is a dataset": replace("history", data=np.zeros(3)),
}

#: What takes little space and would take much memory or time.
BOMBS: dict[str, Change] = {
    "many long genes": names_bomb("genes", 100_000, 1000),
    "many long labels": names_bomb("label_keys", 100_000, 1000),
    "long genes": names_bomb("genes", 16_000, 1000),
    "genes, as long as they may be": names_bomb("genes", 32_000, 256),
    "labels, as long as they may be": names_bomb("label_keys", 32_000, 256),
    "more genes than may be as long": names_bomb("genes", 65_000, 256),
    "many columns of history": many("history", 20_000),
    "many members of the file": many("/", 20_000),
    "many members of a layer": many("params/head", 20_000),
    "long history": replace("history/epoch", data=np.zeros(1_000_000), **GZIP),
    "history in tiny chunks": replace("history/epoch", data=np.zeros(20_000), chunks=(1,)),
    "history in chunks that are mostly beyond it": replace(
        "history/epoch", shape=(1000,), maxshape=(None,), dtype="f8", chunks=(2**17,), fillvalue=1, **GZIP
    ),
    "weights in chunks that are mostly beyond them": replace(
        WEIGHTS, data=np.ones((HIDDEN, N_CLASSES), "f4"), maxshape=(None, None), chunks=(1, 2**18), **GZIP
    ),
    "info of many parts": info_bomb(b'{"a": [' + b"{}," * 1_300_000 + b"{}]}"),
    "info of many parts, packed": info_bomb(b'{"a": [' + b"{}," * 1_300_000 + b"{}]}", **GZIP),
    "long info": info_bomb(b'{"a": "' + b"x" * 2**24 + b'"}'),
    "many layers": many_layers("gated"),
    "many layers of a transformer": many_layers("transformer"),
    "type of many parts": replace("genes", shape=(N_GENES,), dtype=[(f"f{i}", "f4") for i in range(700)]),
    "values with many names": replace(
        "label_values", data=np.arange(3, dtype="i4"), dtype=h5py.enum_dtype({f"e{i}": i for i in range(1200)}, "i4")
    ),
}

#: What is valid in itself, and only the digest shows.
SWAPPED: dict[str, Change] = {
    "genes reversed": lambda f: f["genes"].__setitem__(slice(None), f["genes"][()][::-1]),
    "labels reversed": lambda f: f["label_keys"].__setitem__(slice(None), f["label_keys"][()][::-1]),
    "a weight": write(WEIGHTS, (0, 0), 0.5),
    "label values": write("label_values", 0, 7),
    "normalize": attribute("normalize", False),
    "training": attribute("training", True),
    "target sum": attribute("target_sum", 1e3),
    "library size": attribute("library_size", "all_genes"),
    "info": attribute("info", '{"label_key": "donor"}'),
    "dropout rate": config(dropout_rate=0.5),
    "written by": attribute("written_by", "ginseng 0.0"),
    "history": write("history/epoch", 0, 9),
    "digest": attribute("sha256", ""),
    "no digest": lambda f: f.attrs.__delitem__("sha256"),
}


def sign(file: h5py.File) -> None:
    """Update the digest of the file, as an attacker would."""
    attributes = {k: v.decode() if isinstance(v, bytes) else v.item() for k, v in file.attrs.items() if k != "sha256"}
    datasets: dict[str, np.ndarray] = {}
    file.visititems(lambda name, o: datasets.update({name: o[()]}) if isinstance(o, h5py.Dataset) else None)
    file.attrs["sha256"] = np.bytes_(digest_of(attributes, datasets).encode())


def refused(path: Path) -> None:
    start = time.process_time()
    with pytest.raises(ModelFileError, match=path.name):
        load_model(path, max_bytes=2**26)
    assert time.process_time() - start < 1


def test_the_table_is_long() -> None:
    assert len(DAMAGED) + len(SWAPPED) >= 25


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged(name: str, copy: Path) -> None:
    with h5py.File(copy, "a") as file:
        DAMAGED[name](file)
    refused(copy)


def test_large_models_are_not_taken_for_bombs(tmp_path: Path) -> None:
    """20,000 genes, 1,000 classes and 10,000 epochs, also compressed, and with a name of maximum length."""
    n_genes, n_classes = 20_000, 1000
    network = registry.get("gated", {"hidden_dim": 8, "gate_dim": 2, "n_members": 1})
    rng = np.random.default_rng(0)
    shapes = registry.shapes(network, n_genes, n_classes)
    state = GinsengClassifierState.of(
        network,
        params=jax.tree.map(lambda a: rng.uniform(0.1, 1, a.shape).astype("f4"), shapes),
        genes=np.array(["γ" * 128, *(f"ENSG{i:011}" for i in range(1, n_genes))]),
        label_keys=np.array([f"cell type {i}" for i in range(n_classes)]),
        label_values=np.arange(n_classes),
        n_genes=n_genes,
        n_classes=n_classes,
        history={name: rng.normal(size=10_000) for name in ("epoch", "train_loss", "holdout_loss", "seconds")},
        info={"cells": list(range(50_000))},
    )
    path = tmp_path / "large.h5"
    save_model(state, path)
    load_model(path)
    with h5py.File(path, "a") as file:
        found: dict[str, np.ndarray] = {}
        file.visititems(lambda name, o: found.update({name: o[()]}) if isinstance(o, h5py.Dataset) else None)
        for name, values in found.items():
            replace(name, data=values, **GZIP)(file)
    start = time.process_time()
    np.testing.assert_array_equal(load_model(path).genes, state.genes)
    assert time.process_time() - start < 1


SIGNABLE = [
    "hard link to another dataset", "NaN", "infinity", "duplicate labels", "duplicate genes", "empty label",
    "terminal escape", "line break", "right to left override", "long label", "very long label", "not UTF-8",
    "another member", "another weight", "unknown architecture", "negative target sum", "infinite target sum",
    "unknown library size", "config: null", "config: list", "config: no settings", "config: layers",
    "config: fewer layers", "info: no JSON", "info: list", "fewer labels", "transposed weights", "no genes",
]  # fmt: skip


@pytest.mark.parametrize("name", SIGNABLE)
def test_damaged_with_the_digest_of_the_damage(name: str, copy: Path) -> None:
    with h5py.File(copy, "a") as file:
        DAMAGED[name](file)
        sign(file)
    refused(copy)


@pytest.mark.parametrize("name", SWAPPED)
def test_changed(name: str, copy: Path) -> None:
    with h5py.File(copy, "a") as file:
        SWAPPED[name](file)
    refused(copy)


def test_signing_is_what_saving_does(copy: Path) -> None:
    """Otherwise the tests above would only show that the digest is wrong."""
    before = load_model(copy)
    with h5py.File(copy, "a") as file:
        saved = file.attrs["sha256"]
        sign(file)
        assert file.attrs["sha256"] == saved
        file[WEIGHTS][0, 0] = 0.5
        sign(file)
    after = load_model(copy)
    assert after.params["head"]["W"][0, 0] == 0.5
    np.testing.assert_array_equal(after.genes, before.genes)


# -- other files -------------------------------------------------------------------------------------------------


class Watch:
    """Counts how often a file is opened, by Python or by a library (Linux only)."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(self.fd, os.fsencode(path), 0x20) >= 0  # IN_OPEN

    def opened(self) -> int:
        try:
            return len(os.read(self.fd, 65_536)) // 16
        except BlockingIOError:
            return 0

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def external_storage(file: h5py.File, secret: Path) -> None:
    replace(WEIGHTS, shape=(HIDDEN, N_CLASSES), dtype="f4", external=[(str(secret), 0, 4 * HIDDEN * N_CLASSES)])(file)


def virtual(file: h5py.File, secret: Path) -> None:
    del file[WEIGHTS]
    layout = h5py.VirtualLayout((HIDDEN, N_CLASSES), "f4")
    layout[:] = h5py.VirtualSource(str(secret), WEIGHTS, (HIDDEN, N_CLASSES))
    file.create_virtual_dataset(WEIGHTS, layout)


def linked(name: str) -> Callable[[h5py.File, Path], None]:
    return lambda file, secret: link(name, lambda _: h5py.ExternalLink(str(secret), name))(file)


@pytest.mark.skipif(sys.platform != "linux", reason="watches files with inotify")
@pytest.mark.parametrize(
    "attack",
    [external_storage, virtual, *map(linked, ["genes", "params", WEIGHTS, "history", "history/epoch", "label_values"])],
)
def test_no_other_file_is_opened(attack: Callable[[h5py.File, Path], None], model: Path, copy: Path) -> None:
    secret = copy.with_name("secret.h5")
    secret.write_bytes(model.read_bytes())
    with h5py.File(copy, "a") as file:
        attack(file, secret)
    with Watch(secret) as watch:
        refused(copy)
        assert watch.opened() == 0
        with h5py.File(copy, "r") as file:  # the attack works
            (
                np.asarray(file[WEIGHTS]),
                np.asarray(file["genes"]),
                np.asarray(file["history/epoch"]),
                file["label_values"],
            )
        assert watch.opened() > 0


# -- random damage -----------------------------------------------------------------------------------------------


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    start = int(rng.integers(len(out)))
    match rng.integers(5):
        case 0:
            out[start] ^= 1 << int(rng.integers(8))
        case 1:  # in the superblock and the first headers
            out[start % 2048] ^= int(rng.integers(1, 256))
        case 2:
            del out[start:]
        case 3:
            out[start : start + 8] = bytes([int(rng.choice([0, 255]))]) * len(out[start : start + 8])
        case 4:
            other = int(rng.integers(len(out)))
            out[start : start + 512], out[other : other + 512] = out[other : other + 512], out[start : start + 512]
    return bytes(out)


@pytest.mark.parametrize(
    ("seed", "network"),
    [(0, {"architecture": "linear"}), (1, {"architecture": "linear"}), (2, {"n_members": 2, "n_layers": 1})],
    ids=["linear 1", "linear 2", "gated"],
)
def test_damaged_by_chance(
    seed: int,
    network: dict[str, Any],
    random_state: Callable[..., GinsengClassifierState],
    in_memory: Path,
    assert_equal: Callable[..., None],
    in_child: Callable[..., Any],
    long: bool,
) -> None:
    copy = in_memory / "model.h5"
    save_model(random_state(**network), copy)  # few datasets, so it is fast to read
    data, expected = copy.read_bytes(), load_model(copy)
    n = 34_000 if long else 800 if network.get("architecture") == "linear" else 400

    def fuzz() -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        n_refused, slowest = 0, 0.0
        for _ in range(n):
            copy.write_bytes(mutate(data, rng))
            start = time.process_time()
            try:
                found = load_model(copy)
            except ModelFileError:
                n_refused += 1
            else:
                assert_equal(found, expected)
            slowest = max(slowest, time.process_time() - start)
        return {"n_refused": n_refused, "slowest": slowest}

    result = in_child(fuzz)
    assert n / 2 < result["n_refused"] < n
    assert result["slowest"] < 1


# -- random changes through h5py, which keep the HDF5 structure intact --------------------------------------------


def edit(file: h5py.File, rng: np.random.Generator, elsewhere: str) -> None:
    """Change one member, attribute or link; HDF5 may refuse."""
    members: list[str] = []
    file.visit(members.append)
    name, other = (str(rng.choice(members)) for _ in range(2))
    kinds = ["f4", "f8", "f2", "i1", "i8", "u8", "S3", "S300", "c8", "V4", h5py.string_dtype(), [("a", "f4")], "bool"]
    kind: Any = kinds[int(rng.integers(len(kinds)))]
    if rng.random() < 0.3:
        key = str(rng.choice(list(file.attrs) or ["x"]))
        values = [
            0,
            -1,
            1.5,
            np.nan,
            True,
            "text",
            b"bytes",
            [1, 2],
            np.zeros((2, 2)),
            np.bytes_(b"gated"),
            h5py.Empty("f4"),
        ]
        match rng.integers(4):
            case 0:
                del file.attrs[key]
            case 1:
                file.attrs[key] = values[int(rng.integers(len(values)))]
            case 2:
                h5py.h5a.rename(file.id, key.encode(), str(rng.choice(["x", "y", *file.attrs])).encode())
            case 3:
                file.attrs.create(key, file.attrs[key], dtype=kind)
        return
    match rng.integers(9):
        case 0:
            del file[name]
        case 1:
            file.move(name, f"{other}{rng.choice(['2', '/x', ''])}")
        case 2:
            file.copy(name, f"{name}2")
        case 3:
            del file[name]
            file[name] = rng.choice(
                [h5py.SoftLink(f"/{other}"), h5py.SoftLink("/nowhere"), h5py.ExternalLink(elsewhere, other)]
            )
        case 4:
            target = file[other]
            del file[name]
            file[name] = target
        case _:
            if not isinstance(file[name], h5py.Dataset):
                return
            values = file[name][()]
            match rng.integers(6):
                case 0:
                    values = values.astype(kind)
                case 1:
                    values = values.reshape(rng.choice([-1, 1]), *rng.choice([(1,), (-1,), (1, 1)]))
                case 2:
                    values = np.resize(values, [max(0, n + int(rng.integers(-1, 2))) for n in values.shape])
                case 3:
                    values = values.T
                case 4:
                    values = rng.permutation(values.ravel()).reshape(values.shape)
                case 5:
                    values = h5py.Empty(values.dtype)
            packed = values.ndim and rng.random() < 0.5 if isinstance(values, np.ndarray) else False
            replace(name, data=values, **(GZIP if packed else {}))(file)


@pytest.mark.parametrize("signed", [False, True])
def test_edited_by_chance(
    signed: bool,
    random_state: Callable[..., GinsengClassifierState],
    in_memory: Path,
    assert_equal: Callable[..., None],
    in_child: Callable[..., Any],
    long: bool,
) -> None:
    copy, elsewhere = in_memory / "model.h5", in_memory / "elsewhere.h5"
    save_model(random_state(n_members=2, n_layers=1), copy)
    data, expected = copy.read_bytes(), load_model(copy)
    elsewhere.write_bytes(data)

    def fuzz() -> list[int]:
        rng = np.random.default_rng(int(signed))
        n_refused = n_loaded = 0
        for _ in range(10_000 if long else 150):
            copy.write_bytes(data)
            with h5py.File(copy, "a") as file:
                for _ in range(int(rng.integers(1, 4))):
                    with suppress(OSError, KeyError, TypeError, ValueError, RuntimeError, Warning):  # refused by HDF5
                        edit(file, rng, str(elsewhere))
                if signed:
                    with suppress(OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError):
                        sign(file)
            try:
                found = load_model(copy)
            except ModelFileError:
                n_refused += 1
                continue
            n_loaded += 1
            found.check()
            if not signed:
                assert_equal(found, expected)
        return [n_refused, n_loaded]

    n_refused, n_loaded = in_child(fuzz)
    assert n_refused > n_loaded > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_refusing_takes_little_time_and_memory_and_no_other_file(
    model: Path, tmp_path: Path, in_child: Callable[..., Any]
) -> None:
    files = {}
    for i, (name, change) in enumerate({**DAMAGED, **SWAPPED, **BOMBS}.items()):
        files[name] = tmp_path / f"{i}.h5"
        files[name].write_bytes(model.read_bytes())
        with h5py.File(files[name], "a") as file:
            change(file)
        if name in SIGNABLE:
            files[f"{name}, signed"] = tmp_path / f"{i} signed.h5"
            files[f"{name}, signed"].write_bytes(files[name].read_bytes())
            with h5py.File(files[f"{name}, signed"], "a") as file:
                sign(file)

    def peak() -> int:
        """Return the peak memory since the last call, in kB."""
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/clear_refs").write_text("5")
        return int(status.partition("VmHWM:")[2].split()[0])

    release = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)

    def cost(path: Path) -> tuple[float, int]:
        """Return the seconds and kB it takes to refuse a file, independent of earlier calls."""
        release(0)
        peak()
        before = peak()
        start = time.process_time()
        with pytest.raises(ModelFileError):
            load_model(path)
        return time.process_time() - start, peak() - before

    def load_all() -> dict[str, tuple[float, int, list[str]]]:
        opened: list[str] = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
        with pytest.raises(ModelFileError):
            load_model(files["NaN"])  # warm-up: imports and compilation
        costs = {}
        for name, path in files.items():
            opened.clear()
            seconds, memory = cost(path)
            others = [file for file in opened if Path(file) != path and not file.startswith("/proc/self/")]
            for _ in range(2):
                if seconds > SLOWER.get(name, LIMIT) or memory > 50_000:  # best of three, since the machine is shared
                    registry._shapes.cache_clear()
                    again = cost(path)
                    seconds, memory = min(seconds, again[0]), min(memory, again[1])
            costs[name] = (seconds, memory, others)
        return costs

    costs = in_child(load_all)
    assert len(costs) >= 140
    over = {
        name: (seconds, memory, others)
        for name, (seconds, memory, others) in costs.items()
        if seconds > SLOWER.get(name, LIMIT) or memory > 50_000 or others
    }
    assert over == {}
