from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ginseng._logging import warning
from ginseng.train.checkpoint import Checkpoint


@contextmanager
def interruptible(pressed: threading.Event | None = None) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether ctrl-C was pressed, which sets `pressed`; again raises `KeyboardInterrupt`.

    Does nothing outside the main thread, or if the program handles the signal itself.
    """
    pressed = threading.Event() if pressed is None else pressed

    def press(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def report_interruption(epoch: int, epochs: int, best_epoch: int | None, place: Checkpoint | None) -> None:
    """Report that training was interrupted after so many epochs, and how to resume; raise if there is no model yet."""
    told = f"Training was interrupted in epoch {epoch + 1} of {epochs}. "
    if best_epoch is not None:
        told += f"The model is from epoch {best_epoch}. "
    if place is None:
        told += "To be able to resume after an interruption, pass `checkpoint=` with the path of a file."
    else:
        told += f"To resume, train again with `resume=True`: the checkpoint is {place.path}."
    if best_epoch is None:
        raise KeyboardInterrupt(told)
    warning(told)
