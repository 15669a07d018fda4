from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
