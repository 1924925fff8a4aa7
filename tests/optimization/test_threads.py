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
    return [made.settings["threads"] for made in threads.plugin(variant, context_in(tmp_path))]


def test_an_engine_that_uses_every_core_is_offered_with_one_thread_and_with_all_cores(variant, tmp_path, monkeypatch):
    assert settings_of(variant, tmp_path, 8, monkeypatch) == [1, 8]
    assert settings_of(variant, tmp_path, 1, monkeypatch) == [1]


def test_an_engine_of_one_thread_is_offered_with_all_cores(variant, tmp_path, monkeypatch):
    assert settings_of(replace(variant, engine="onnxruntime"), tmp_path, 8, monkeypatch) == [8]


def test_the_current_number_of_threads_is_not_offered(variant, tmp_path, monkeypatch):
    assert settings_of(replace(variant, settings={"threads": 8}), tmp_path, 8, monkeypatch) == [1]


def test_one_core_offers_no_other_number_of_threads(variant, tmp_path, monkeypatch):
    with pytest.raises(NotApplicable, match="one core"):
        settings_of(replace(variant, settings={"threads": 1}), tmp_path, 1, monkeypatch)


def test_an_engine_without_threads_does_not_apply(variant, tmp_path):
    with pytest.raises(NotApplicable, match="'echo' has no setting"):
        threads.plugin(replace(variant, engine="echo"), context_in(tmp_path))


def test_the_artifact_is_unchanged_and_the_name_shows_the_setting_once(variant, tmp_path):
    new = threads.plugin(variant, context_in(tmp_path))[0]
    assert new.artifact == variant.artifact and new.name == "lightgbm · threads=1"


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    assert 1 <= threads.cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.cores() == 1
