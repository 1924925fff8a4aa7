"""What a model was trained with, and how it differs from today."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.provenance import TrainingDigests


def test_what_a_model_was_trained_with_differs_by_code_settings_or_rows() -> None:
    made = TrainingDigests(code="sha256:1", settings="sha256:2", rows="sha256:3")
    assert made.differences(made) == []
    assert made.differences(replace(made, code="sha256:4", rows="sha256:5")) == ["code", "rows"]
    assert (made.is_known, TrainingDigests().is_known) == (True, False)
