"""Files that are damaged or made to do harm: each is refused, quickly, and no other file is opened."""

import ctypes
import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ginseng.model import GinsengClassifierState, ModelFileError, load_model, save_model
from ginseng.model._hdf5 import _digest

type Change = Callable[[h5py.File], Any]
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
    """Store through these filters, without a byte written."""

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
    """A chunk of 60 bytes that holds 256 MB of zeros, packed a thousandfold."""
    data = replace("genes", shape=(N_GENES,), dtype="S5", chunks=(N_GENES,), compression="gzip")(file)
    packer = zlib.compressobj(9)
    data.id.write_direct_chunk((0,), b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush())


def inflating_to_scale(file: h5py.File) -> None:
    """A chunk that is stored in no more than it declares, and unfolds to a thousand times that."""
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

#: What is valid in itself, and only the digest shows.
SWAPPED: dict[str, Change] = {
    "genes reversed": lambda f: f["genes"].__setitem__(slice(None), f["genes"][()][::-1]),
    "labels reversed": lambda f: f["label_keys"].__setitem__(slice(None), f["label_keys"][()][::-1]),
    "a weight": write(WEIGHTS, (0, 0), 0.5),
    "label values": write("label_values", 0, 7),
    "normalize": attribute("normalize", False),
    "training": attribute("training", True),
    "target sum": attribute("target_sum", 1e3),
    "library size": attribute("library_size", "model_genes"),
    "info": attribute("info", '{"label_key": "donor"}'),
    "dropout rate": config(dropout_rate=0.5),
    "written by": attribute("written_by", "ginseng 0.0"),
    "history": write("history/epoch", 0, 9),
    "digest": attribute("sha256", ""),
    "no digest": lambda f: f.attrs.__delitem__("sha256"),
}


def sign(file: h5py.File) -> None:
    """Put the digest of what is there now into the file, as an attacker would."""
    attributes = {k: v.decode() if isinstance(v, bytes) else v.item() for k, v in file.attrs.items() if k != "sha256"}
    datasets: dict[str, np.ndarray] = {}
    file.visititems(lambda name, o: datasets.update({name: o[()]}) if isinstance(o, h5py.Dataset) else None)
    file.attrs["sha256"] = np.bytes_(_digest(attributes, datasets).encode())


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
    """Else the tests above would only show that the digest is wrong."""
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
        with h5py.File(copy, "r") as file:  # the attack would have worked
            (
                np.asarray(file[WEIGHTS]),
                np.asarray(file["genes"]),
                np.asarray(file["history/epoch"]),
                file["label_values"],
            )
        assert watch.opened() > 0


# -- chance damage -----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("seed", range(3))
def test_damaged_by_chance(
    seed: int,
    random_state: Callable[..., GinsengClassifierState],
    in_memory: Path,
    assert_equal: Callable[..., None],
    in_child: Callable[..., Any],
    long: bool,
) -> None:
    copy = in_memory / "model.h5"
    save_model(random_state("linear"), copy)  # few datasets, so quick to read
    data, expected = copy.read_bytes(), load_model(copy)
    n = 34_000 if long else 1000

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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_refusing_takes_little_time_and_memory_and_no_other_file(
    model: Path, tmp_path: Path, in_child: Callable[..., Any]
) -> None:
    files = {}
    for i, (name, change) in enumerate({**DAMAGED, **SWAPPED}.items()):
        files[name] = tmp_path / f"{i}.h5"
        files[name].write_bytes(model.read_bytes())
        with h5py.File(files[name], "a") as file:
            change(file)

    def peak() -> int:
        """Return the most memory that was taken since this was called last, in kB."""
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/clear_refs").write_text("5")
        return int(status.partition("VmHWM:")[2].split()[0])

    def load_all() -> dict[str, tuple[float, int, list[str]]]:
        opened: list[str] = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
        costs = {}
        with pytest.raises(ModelFileError):
            load_model(files["NaN"])  # what is imported or compiled once
        for name, path in files.items():
            peak()
            before = peak()
            opened.clear()
            start = time.process_time()
            try:
                load_model(path)
            except ModelFileError:
                seconds = time.process_time() - start
            others = [file for file in opened if Path(file) != path]
            costs[name] = (seconds, peak() - before, others)
        return costs

    costs = in_child(load_all)
    assert len(costs) >= 90
    assert sum(cost[0] < 0.05 for cost in costs.values()) >= 30
    assert {name: cost for name, cost in costs.items() if cost[0] > 0.5 or cost[1] > 50_000 or cost[2]} == {}
