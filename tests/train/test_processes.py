"""What processes that train together tell each other, and the user."""

from __future__ import annotations

import time

import numpy as np
import pytest
from jax.experimental import multihost_utils

from ginseng.train import processes


@pytest.mark.parametrize("slow", [True, False])
def test_waiting_long_for_others_is_told(
    slow: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gather(own: np.ndarray) -> np.ndarray:
        time.sleep(0.3 * slow)
        return np.stack([own, own])

    monkeypatch.setattr(processes, "n_processes", lambda: 2)
    monkeypatch.setattr(processes, "SLOW", 0.1 if slow else 30.0)
    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    assert processes.any_process(True)
    said = capsys.readouterr().err
    assert all((text in said) == slow for text in ("Process 0", "resume=True"))
