"""Context of the audits: how to retrain the model, its training data, months of rows; and audits run by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypedDict

from headway.core.config import Config
from headway.core.contracts import Blobs, Engine, LabeledData, State, no_training_rows
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, NotApplicable, StoreError
from headway.core.provenance import TrainingDigests
from headway.core.record import canonical, digest_of, kind_of, read, write
from headway.core.settings.project import ProjectSection
from headway.core.training import ShadowModel, TrainingTask
from headway.core.variant import Signature, Variant
from headway.core.workers import HERE, Workers
from headway.data.contract.table_contract import load_project_contract
from headway.data.matrix import (
    group_codes,
    matrix,
    month_column,
    sample_weights,
    sensitive_columns,
    slice_columns,
    target_values,
)
from headway.data.split import labeled_rows
from headway.evaluation.comparison import open_on_rows, subsample, time_per_row
from headway.evaluation.context import (
    REGISTERED_MODELS,
    AuditContext,
    Comparison,
    MetricResults,
    Retrain,
    RetrainVariants,
    run_audit,
)
from headway.evaluation.settings.attack import AttackSection
from headway.evaluation.settings.evaluate import EvaluateSection
from headway.evaluation.text_corruptions import Phrases, read_paraphrases
from headway.optimization.training import (
    TrainedModel,
    TrainingInputs,
    accepts_seed,
    require_same_training,
    train_task,
    training_digests,
)
from headway.scanning.files import judge_bytes
from headway.storage.in_memory import InMemoryBlobs

Data = Mapping[str, Dataset]
_TIMED_ROWS = 1_250


def build_audit_context(
    config: Config,
    data: Data,
    blobs: Blobs,
    *,
    signature: Signature,
    judged: Dataset,
    made_with: TrainingDigests,
    state: State | None = None,
    key_per_s: float = 0.0,
) -> AuditContext:
    """Build the context in which variants with this signature are audited on the rows of the period `judged`.

    `made_with` is what the baseline was trained with. With `state`, shadow models are saved and reused. `key_per_s` are
    the requests per second that the server allows a key; 0: no limit.

    Raises
    ------
    ConfigError
        If `[evaluate] together` or `[attack]` names a feature that the model does not read, or `[attack.bounds]` are
        empty, or given for a categorical or fixed feature.
    DataError
        If the file of `[evaluate] paraphrases` is not a table of them.
    """
    return AuditContext(
        blobs=blobs,
        budget_s=config[EvaluateSection].budget_s,
        train=lambda: load_training_data(data, signature),
        **retrained_by(
            config,
            data,
            signature,
            made_with=made_with,
            saved=None if state is None else SavedShadows(config, state, blobs),
        ),
        knows_training=made_with.is_known,
        months=month_column(labeled_rows(judged)),
        feature_groups=_checked_groups(config[EvaluateSection].together, signature),
        rate_per_s=config[EvaluateSection].rate_per_s,
        attack=_checked_limits(config[AttackSection], signature),
        contract=load_project_contract(config),
        paraphrases=_paraphrases(config, signature),
        key_per_s=key_per_s,
    )


def _paraphrases(config: Config, signature: Signature) -> Mapping[str, Phrases]:
    """Return the table of `[evaluate] paraphrases`, if the model reads texts."""
    name = config[EvaluateSection].paraphrases
    if not name or not signature.texts:
        return {}
    path = config.path(name)
    return {f"phrases of {path.name}": read_paraphrases(path)}


class Retrained(TypedDict, total=False):
    """The fields of AuditContext that retrain the baseline."""

    retrain: Retrain
    retrain_variants: RetrainVariants


class SavedShadows:
    """Shadow models in the store of a project, which later audits reuse: the registered ones of each audit.

    Only a model that a scan finds safe to open is reused.
    """

    def __init__(self, config: Config, state: State, blobs: Blobs) -> None:
        self._config, self._state, self._blobs = config, state, blobs

    def key(self, dataset: Dataset) -> str:
        """Return the digest of all that decides which models the code trains on halves of the groups of a dataset."""
        rows = labeled_rows(dataset)
        order = rows.table.hash_rows().to_numpy() if not rows.roles.groups else group_codes(rows)
        return digest_of(canonical([training_digests(self._config, dataset), digest_of(order.tobytes())]))

    def find(self, key: str) -> dict[TrainingTask, TrainedModel]:
        """Return the models with this key, by their task."""
        models: dict[TrainingTask, TrainedModel] = {}
        for content in self._state.records(kind_of(ShadowModel), name=self._config[ProjectSection].name):
            saved = read(ShadowModel, content)
            if saved.key != key:
                continue
            try:
                artifact = self._blobs.get(saved.model.artifact.digest)
            except StoreError:
                continue  # it is trained again
            if judge_bytes(artifact, name=f"model.{saved.model.artifact.format}").verdict == "safe":
                models[saved.task] = TrainedModel(variant=saved.model, content=artifact, seconds=saved.seconds)
        return models

    def save(self, key: str, task: TrainingTask, trained: TrainedModel) -> None:
        """Save a model for later audits."""
        saved = ShadowModel(key=key, task=task, model=trained.save(self._blobs), seconds=trained.seconds)
        self._state.save(kind_of(ShadowModel), write(saved), name=self._config[ProjectSection].name)


def retrained_by(
    config: Config,
    data: Data,
    signature: Signature,
    workers: Workers = HERE,
    *,
    made_with: TrainingDigests,
    saved: SavedShadows | None = None,
) -> Retrained:
    """Return how the baseline is retrained on `train`: the function of `[model] train`, by these workers.

    Empty if there are no such rows, or no function that takes a seed. Where the baseline was made with other code,
    settings or rows, a retraining raises NotApplicable.
    """
    if "train" not in data or not accepts_seed(config):
        return {}

    def train(tasks: Sequence[TrainingTask], proceed: Callable[[], bool]) -> Iterator[tuple[int, TrainedModel]]:
        require_same_training(made_with, training_digests(config, data["train"]))
        inputs = TrainingInputs.of(config, data["train"], signature.names)
        key = saved.key(data["train"]) if saved is not None and any(task.half is not None for task in tasks) else ""
        stored = saved.find(key) if saved is not None and key else {}
        for number, task in enumerate(tasks):
            if task in stored and proceed():
                yield number, stored[task]
        new = [number for number, task in enumerate(tasks) if task not in stored]
        for index, model in workers.map(train_task, inputs, [tasks[number] for number in new], proceed=proceed):
            number = new[index]
            if saved is not None and tasks[number].half is not None and number < REGISTERED_MODELS:
                saved.save(key, tasks[number], model)
            yield number, model

    def retrain(tasks: Sequence[TrainingTask], proceed: Callable[[], bool]) -> Iterator[tuple[int, Engine]]:
        for number, model in train(tasks, proceed):
            yield number, model.open()

    return {"retrain": retrain, "retrain_variants": train}


def _checked_groups(together: Sequence[Sequence[str]], signature: Signature) -> Sequence[Sequence[str]]:
    """Return the groups of features; raise ConfigError for a feature that the model does not read."""
    _expect_features([name for names in together for name in names], signature, where="[evaluate] together")
    return together


def _checked_limits(limits: AttackSection, signature: Signature) -> AttackSection:
    """Return the limits of an attack; raise ConfigError for unknown features and for bounds that cannot hold."""
    _expect_features(limits.fixed, signature, where="[attack] fixed")
    _expect_features(list(limits.bounds), signature, where="[attack.bounds]")
    _expect_features(list(limits.cost), signature, where="[attack.cost]")
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
    return LabeledData(
        rows=rows,
        labels=target_values(known),
        groups=group_codes(known),
        weights=sample_weights(known),
        slices={**slice_columns(known), **sensitive_columns(known)},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditInputs:
    """What a worker audits: a comparison whose models it opens from `contents`, their artifacts, and a context.

    No store, no server and no way to retrain the model is in it.
    """

    subject: Comparison
    baseline: Variant
    contents: tuple[bytes, ...]
    context: AuditContext

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all but the opened models."""
        closed: Any = None
        without = replace(self.subject, model=closed, reference=closed, floor=None, timed=None)
        return {"subject": without, "baseline": self.baseline, "contents": self.contents, "context": self.context}

    @cached_property
    def opened(self) -> Comparison:
        """The comparison with its models, opened once in a process."""
        if self.subject.model is not None:
            return self.subject
        blobs = InMemoryBlobs()
        for content in self.contents:
            blobs.put(content)
        model, reference = (
            open_on_rows(variant, self.subject.names, blobs) for variant in (self.subject.variant, self.baseline)
        )
        return replace(self.subject, model=model, reference=reference)


def audit_task(inputs: AuditInputs, name: str) -> MetricResults | NotApplicable:
    """Run one audit, here or in a worker; return why it has no results if it has none."""
    return run_audit(name, inputs.opened, inputs.context)


def share_audits(
    subject: Comparison, names: Sequence[str], context: AuditContext, workers: Workers
) -> dict[str, MetricResults | NotApplicable]:
    """Run audits that read rows and models alone, one a task of the workers; return the results by name.

    The number of rows that they use depends on how long the models take, which is measured once, here.
    """
    baseline = context.baseline
    if not names or baseline is None or not len(subject.rows):
        return {}
    inputs = AuditInputs(
        subject=subject,
        baseline=baseline,
        contents=tuple(context.blobs.get(variant.artifact.digest) for variant in (subject.variant, baseline)),
        context=replace(
            context,
            blobs=InMemoryBlobs(),
            train=no_training_rows,
            retrain=None,
            retrain_variants=None,
            transform_context=None,
            serve=None,
            row_s=time_per_row(subsample(subject, _TIMED_ROWS)),
        ),
    )
    return {names[number]: found for number, found in workers.map(audit_task, inputs, names)}
