from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# most of the time goes into compiling: code that runs once on little data need not be fast, and what one process has
# compiled serves the others; before JAX starts
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers and commands inherit it
    compiled = tempfile.TemporaryDirectory(prefix="ginseng-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import ginseng as gs
from ginseng._settings import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="fuzz and kill for hours rather than seconds")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: run with --long"))


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether there is time for the long form of a test."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in which nothing waits for the disk, where there is such."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def in_child() -> Callable[[Callable[[], Any]], Any]:
    """Return a function that calls another in a forked process, whose result is to be JSON."""

    def call(function: Callable[[], Any]) -> Any:
        if not hasattr(os, "fork"):
            pytest.skip("forks")
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*fork")  # the child computes nothing
            pid = os.fork()
        if pid == 0:
            try:
                answer = {"result": function()}
            except BaseException:  # noqa: BLE001
                answer = {"error": traceback.format_exc()}
            with os.fdopen(write, "w") as pipe:
                json.dump(answer, pipe)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == 0, f"the child ended with {status}"  # a signal, below 0
        answer = json.loads(text)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    return call


class Server(ThreadingHTTPServer):
    """Serves `files`, a dict of name -> bytes, on this machine only.

    The first part of a URL's path says how: `ok`, `redirect`, `login`, `truncated`, `truncated-no-length`,
    `hang` before the answer, or `stall` in the middle of it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.closing = threading.Event()

    def url(self, name: str, how: str = "ok") -> str:
        return f"http://127.0.0.1:{self.server_port}/{how}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        how, _, name = urlsplit(self.path).path.lstrip("/").partition("/")
        body = self.server.files.get(name)
        if how == "hang":
            self.server.closing.wait(30)
        elif how == "login":
            self.send_error(401)
        elif body is None:
            self.send_error(404)
        elif how == "redirect":
            self.send_response(302)
            self.send_header("Location", self.server.url(name))
            self.end_headers()
        else:
            self.send_response(200)
            if how != "truncated-no-length":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if how == "ok" else body[: len(body) // 2])
            if how == "stall":
                self.server.closing.wait(30)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _ctrl_c() -> None:
    """Let ctrl-C do what it does in a terminal; a shell that starts the tests in the background switches it off."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a server on this machine; what is downloaded from it goes to `tmp_path / "cache"`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(settings, "cache_dir", tmp_path / "cache")
    monkeypatch.setattr(settings, "progress_bar", False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


#: Labels that file formats and sorting trip over.
LABELS = ("B cell", "T/NK", "γδ T")


def cells(n_cells: int = 120, n_genes: int = 30, *, labels: tuple[str, ...] = LABELS, seed: int = 0) -> ad.AnnData:
    """Return counts in CSR, float32: gene 5k to 5k + 4 mark class k. No cell is empty."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_cells) % len(labels)
    x = rng.poisson(np.where(np.arange(n_genes) // 5 == y[:, None], 5.0, 0.4)).astype(np.float32)
    x[:, -1] += 1
    obs = {"cell_type": pd.Categorical(np.array(labels)[y]), "donor": [f"d{i}" for i in rng.integers(0, 5, n_cells)]}
    return ad.AnnData(
        sparse.csr_matrix(x),
        obs=pd.DataFrame(obs, index=[f"cell{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)]),
    )


@pytest.fixture(scope="session")
def make_cells() -> Callable[..., ad.AnnData]:
    return cells


@pytest.fixture(scope="session")
def state() -> gs.model.GinsengClassifierState:
    """Return a logistic regression of the cells, which a test can repeat in NumPy."""
    adata = cells(seed=1)
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=10, batch_size=16, calibrate=False, silent=True)
    return gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


@pytest.fixture
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train models once, where they would be trained again to learn of their errors, and a test asks nothing of it."""
    monkeypatch.setattr("ginseng.train.calibrating.FEWEST", np.inf)


@pytest.fixture(scope="session")
def halves() -> tuple[ad.AnnData, ad.AnnData]:
    """Return two halves of the bundled cells, to train on and to label."""
    adata = gs.datasets.pbmc68k()
    return adata[::2].copy(), adata[1::2].copy()


@pytest.fixture(scope="session")
def real_model(halves: tuple[ad.AnnData, ad.AnnData]) -> gs.model.GinsengClassifierState:
    """Return a model of the first half that knows of its errors."""
    return trained(halves[0])


@pytest.fixture(scope="session")
def model_without_b(halves: tuple[ad.AnnData, ad.AnnData]) -> gs.model.GinsengClassifierState:
    """Return a model of the first half without its B cells, which are `"CD19+ B"` in the second."""
    return trained(halves[0][halves[0].obs["cell_type"] != "CD19+ B"])


def trained(adata: ad.AnnData) -> gs.model.GinsengClassifierState:
    adata = adata.copy()
    gs.tl.train(adata, "cell_type", epochs=20, silent=True)
    return gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])
