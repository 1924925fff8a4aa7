"""The baseline model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import FormerValues, Record, about
from headway.core.settings_section import SettingsSection


class Costs(Record, frozen=True, kw_only=True):
    """Costs of a false positive and of a false negative, in the same unit."""

    former_names: ClassVar[Mapping[str, str]] = {"false_alarm": "false_positive", "miss": "false_negative"}

    false_positive: float = 1.0
    false_negative: float = 1.0

    @property
    def pair(self) -> tuple[float, float]:
        """The costs of a false positive and of a false negative."""
        return self.false_positive, self.false_negative


class ModelSection(SettingsSection, frozen=True, kw_only=True):
    """The baseline model."""

    table: ClassVar[str] = "model"

    former_names: ClassVar[Mapping[str, str]] = {"class_weights": "class_weight"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "class_weight": {"alike": "balanced", "as_they_come": "none"}
    }

    train: Annotated[str, about("module:function that takes the training table and returns a fitted model.")] = ""
    file: Annotated[
        str,
        about(
            "Model file instead of a training function: .txt (LightGBM), .onnx and others, the folder of an MLflow "
            "model, or an address in MLflow (models:/name@alias)."
        ),
    ] = ""
    import_timeout_s: Annotated[
        float,
        Meta(
            description="Time limit of the process that runs an ONNX graph first, when it is imported, seconds.", gt=0
        ),
    ] = 60.0
    import_memory_mb: Annotated[
        int, Meta(description="Memory limit of that process, beyond the memory of ONNX Runtime, MB.", gt=0)
    ] = 4096
    scores: Annotated[
        str, about("Column with the scores of another system instead of a model: `headway watch` then monitors them.")
    ] = ""
    class_weight: Annotated[
        str,
        Meta(
            description="Class weights in training: none, or balanced (inversely proportional to class frequency).",
            pattern="^(none|balanced)$",
        ),
    ] = "none"
    costs: Annotated[
        Costs | None,
        about(
            "Costs of a false positive and a false negative; the decision threshold minimizes the expected cost. "
            "Without costs the model's own predict decides."
        ),
    ] = None
    epsilon: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        about("Epsilon of the differential privacy of its training, which is recorded and not verified."),
    ] = None
    delta: Annotated[float, Meta(description="Delta that belongs to `epsilon`; 0: pure privacy.", ge=0, lt=1)] = 0.0
    mechanism: Annotated[str, about("How `epsilon` was reached, such as DP-SGD of opacus.")] = ""

    @property
    def decision_costs(self) -> Costs:
        """Costs of wrong decisions; 1 each if none are declared."""
        return self.costs or Costs()


plugin = ModelSection
