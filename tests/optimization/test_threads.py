"""Thread settings: those that the variant does not have already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.engines.boosters import text
from tests.optimization.contexts import baseline_of, context_in

from headway.core.errors import NotApplicable
from headway.core.variant import Variant
from headway.optimization.transforms import threads


@pytest.fixture
def variant(tmp_path: Path) -> Variant:
    return baseline_of(text(), context_in(tmp_path))


def settings_of(variant: Variant, tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    return [each.settings["threads"] for each in threads.plugin(variant, context_in(tmp_path))]


def test_an_engine_that_takes_every_core_is_tried_with_one_and_with_each(variant, tmp_path, monkeypatch):
    assert settings_of(variant, tmp_path, 8, monkeypatch) == [1, 8]
    assert settings_of(variant, tmp_path, 1, monkeypatch) == [1]


def test_an_engine_that_takes_one_thread_is_tried_with_each_core(variant, tmp_path, monkeypatch):
    assert settings_of(replace(variant, engine="onnxruntime"), tmp_path, 8, monkeypatch) == [8]


def test_a_number_that_is_set_is_not_tried_again(variant, tmp_path, monkeypatch):
    assert settings_of(replace(variant, settings={"threads": 8}), tmp_path, 8, monkeypatch) == [1]


def test_on_one_core_there_is_no_other_number(variant, tmp_path, monkeypatch):
    with pytest.raises(NotApplicable, match="one core"):
        settings_of(replace(variant, settings={"threads": 1}), tmp_path, 1, monkeypatch)


def test_an_engine_without_threads_does_not_apply(variant, tmp_path):
    with pytest.raises(NotApplicable, match="'echo' has no setting"):
        threads.plugin(replace(variant, engine="echo"), context_in(tmp_path))


def test_the_artifact_stays_and_the_name_says_the_setting_once(variant, tmp_path):
    new = threads.plugin(variant, context_in(tmp_path))[0]
    assert new.artifact == variant.artifact and new.name == "lightgbm · threads=1"


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    assert 1 <= threads.cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.cores() == 1
