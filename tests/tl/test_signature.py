"""Settings that `train` takes by name show in its signature, from which IPython and Jupyter complete."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

import ginseng as gs
from ginseng.train import GinsengClassifierTrainerSettings


@pytest.mark.parametrize("verb", [gs.tl.train, gs.tl.cross_validate, gs.tl.compare])
def test_every_setting_is_a_keyword(verb: Any) -> None:
    shown = inspect.signature(verb).parameters
    defaults = GinsengClassifierTrainerSettings()
    for field in dataclasses.fields(defaults):
        assert shown[field.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert shown[field.name].default == getattr(defaults, field.name)
    assert "kwargs" not in shown


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="no setting 'learning_rate'"):
        gs.tl.train(gs.datasets.pbmc68k(), "cell_type", learning_rate=1)
