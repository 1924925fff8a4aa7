"""Context of the audits: how to retrain the model, its training data, and the months of the evaluated rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway.core.config import Config
from headway.core.contracts import Blobs, Engine, LabeledData
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError
from headway.core.sections import AttackSection
from headway.core.variant import Signature
from headway.data.matrix import group_codes, matrix, month_column, sample_weights, target_values
from headway.data.split import labeled_rows
from headway.evaluation.comparison import open_variant
from headway.evaluation.context import AuditContext
from headway.optimization.training import accepts_seed, train_model

Data = Mapping[str, Dataset]


def build_audit_context(
    config: Config, data: Data, blobs: Blobs, *, signature: Signature, judged: Dataset
) -> AuditContext:
    """Build the context in which variants with this signature are audited on the rows of the period `judged`.

    Raises
    ------
    ConfigError
        If `[evaluate] together` or `[attack]` names a feature that the model does not read, or `[attack.bounds]` are
        empty, or given for a categorical or fixed feature.
    """

    def retrain(features: Sequence[str], seed: int, *, balanced: bool | None = None) -> Engine:
        model = train_model(config, data["train"], blobs, features=features, seed=seed, balanced=balanced)
        return open_variant(model, blobs)

    can_retrain = "train" in data and accepts_seed(config)
    return AuditContext(
        blobs=blobs,
        budget_s=config.evaluate.budget_s,
        train=lambda: load_training_data(data, signature),
        retrain=retrain if can_retrain else None,
        retrain_weighted=(lambda balanced, seed: retrain(signature.names, seed, balanced=balanced))
        if can_retrain
        else None,
        months=month_column(labeled_rows(judged)),
        feature_groups=_checked_groups(config.evaluate.together, signature),
        rate_per_s=config.evaluate.rate_per_s,
        attack=_checked_limits(config.attack, signature),
    )


def _checked_groups(together: Sequence[Sequence[str]], signature: Signature) -> Sequence[Sequence[str]]:
    """Return the groups of features; raise ConfigError for a feature that the model does not read."""
    _expect_features([name for names in together for name in names], signature, where="[evaluate] together")
    return together


def _checked_limits(limits: AttackSection, signature: Signature) -> AttackSection:
    """Return the limits of an attack; raise ConfigError for unknown features and for bounds that cannot hold."""
    _expect_features(limits.fixed, signature, where="[attack] fixed")
    _expect_features(list(limits.bounds), signature, where="[attack.bounds]")
    texts = [field.name for field in signature.inputs if field.datatype == "BYTES"]
    for name, (low, high) in limits.bounds.items():
        where = f"[attack.bounds] {name} = [{low:g}, {high:g}]"
        if not low <= high:
            hint = f"{name} = [{high:g}, {low:g}]"
            raise ConfigError(f"the bounds of {name!r} are empty", where=where, hint=hint)
        if name in texts:
            raise ConfigError(f"{name!r} is categorical and has no bounds", where=where, hint=f'fixed = ["{name}"]')
        if name in limits.fixed:
            hint = f"remove {name} from [attack] fixed, or from [attack.bounds]"
            raise ConfigError(f"{name!r} is both fixed and bounded", where=where, hint=hint)
    return limits


def _expect_features(names: Sequence[str], signature: Signature, *, where: str) -> None:
    unknown = sorted(set(names) - set(signature.names))
    if unknown:
        raise ConfigError(
            f"the model reads no feature {unknown[0]!r}",
            where=where,
            hint=f"features: {', '.join(signature.names)}",
        )


def load_training_data(data: Data, signature: Signature) -> LabeledData | None:
    """Return the labeled rows of `train` as a model with this signature reads them; None if there are none."""
    known = labeled_rows(data["train"]) if "train" in data else None
    if known is None or known.table.is_empty():
        return None
    rows = matrix(known.table, signature)
    return LabeledData(rows=rows, labels=target_values(known), groups=group_codes(known), weights=sample_weights(known))
