"""The training loop keeps the devices busy."""

import threading
from typing import Any

import numpy as np

from ginseng.data._batches import Window
from ginseng.train.checkpoint import Progress
from ginseng.train.logger import GinsengLogger
from ginseng.train.loop import Plan, run
from ginseng.train.metrics import MEASURES

N_WINDOWS = 5


class Loss:
    """The losses of a window, which are computed when they are looked at."""

    def __init__(self, i: int, said: list[str]) -> None:
        self.i, self.said = i, said

    def __getitem__(self, part: slice) -> "Loss":
        return self

    def __len__(self) -> int:
        return 2

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.said.append(f"waited for {self.i}")
        return np.ones(2, np.float32)


class FakeStep:
    """Says when windows are sent to the devices, and when they are trained on."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.threads: set[str] = set()

    def feed(self, window: Window) -> Window:
        self.threads.add(threading.current_thread().name)
        self.said.append(f"sent {window.y[0, 0]}")
        return window

    def __call__(self, params: Any, state: Any, window: Window, *how: Any) -> tuple[Any, Any, Loss]:
        i = int(window.y[0, 0])
        self.said.append(f"began {i}")
        return params, state, Loss(i, self.said)


def test_the_next_window_is_under_way_before_any_wait() -> None:
    step = FakeStep()
    windows = [Window(*[np.full((2, 3), i)] * 4) for i in range(N_WINDOWS)]
    plan = Plan(
        epochs=1, n_epoch=2 * N_WINDOWS, rates=np.ones(2 * N_WINDOWS), windows=lambda epoch: iter(windows),
        weights=None, monitor="loss", patience=1,
    )  # fmt: skip
    at = Progress({"W": np.ones(1)}, {}, GinsengLogger())
    measures = dict.fromkeys(MEASURES, 1.0)
    assert not run(at, plan, step, lambda params: measures, place=None, silent=True, reports=False)  # type: ignore[arg-type]
    assert at.step == 2 * N_WINDOWS
    place = {text: i for i, text in reversed(list(enumerate(step.said)))}  # the first time
    for i in range(N_WINDOWS - 1):
        assert place[f"sent {i + 1}"] < place[f"began {i + 1}"] < place[f"waited for {i}"]
    assert all(name.startswith("ginseng-prefetch") for name in step.threads)
