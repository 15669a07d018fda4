"""Settings that verbs take by name: seen in signatures, from which IPython completes, and in types, as editors do."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, get_type_hints

import pytest

import ginseng as gs
from ginseng.train import GinsengClassifierTrainerSettings
from ginseng.train.settings import SettingsByName

VERBS = [gs.tl.train, gs.tl.cross_validate, gs.tl.compare, gs.tl.audit_labels]


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_is_a_keyword(verb: Any) -> None:
    shown = inspect.signature(verb).parameters
    defaults = GinsengClassifierTrainerSettings()
    for field in dataclasses.fields(defaults):
        assert shown[field.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert shown[field.name].default == getattr(defaults, field.name)
    assert "kwargs" not in shown


def test_editors_know_the_settings_and_their_types() -> None:
    assert get_type_hints(SettingsByName) == get_type_hints(GinsengClassifierTrainerSettings)
    assert not SettingsByName.__required_keys__
    for verb in VERBS:
        code = inspect.unwrap(verb).__annotations__
        assert code["kwargs"] == "Unpack[SettingsByName]"


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match=r"no setting 'dropout_rat'.*'dropout_rate'"):
        gs.tl.train(gs.datasets.pbmc68k(), "cell_type", dropout_rat=0.1)
