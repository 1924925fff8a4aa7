"""The public functions of `import headway`: optimize, evaluate, compare, learning_curve, load and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from headway import pipeline
from headway.api.as_called import library_calls, native_calls, time_as_called
from headway.api.feature_store import FeatureStore as FeatureStore
from headway.api.gateway import GatewayClassifier as GatewayClassifier
from headway.api.in_memory_project import create_project, open_model
from headway.api.learning_curve import LearningCurveRecorder, start_curve
from headway.api.model import Model, load_model
from headway.api.refit import refit_of
from headway.api.results import ComparisonResult, EvaluationResult, OptimizationResult
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.feature_view import FeatureView
from headway.core.plugins import load_engine
from headway.core.renamed import renamed_arguments
from headway.core.search_result import SearchResult
from headway.features.definitions import feature_view as feature_view
from headway.optimization.importers.models import open_encoder
from headway.optimization.screening import TimeBudget
from headway.optimization.settings.optimize import OptimizeSection
from headway.registry.project import open_project
from headway.reporting.console import progress


@renamed_arguments(tell="callback", lists="query_id", weight="sample_weight")
def optimize(
    model: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    time: Any = None,
    query_id: Any = None,
    sample_weight: Any = None,
    trained_on: Any = None,
    slices: Sequence[str] = (),
    views: Sequence[FeatureView | str] = (),
    costs: Mapping[str, float] | None = None,
    policy: Mapping[str, float | str] | None = None,
    objective: str | None = None,
    transforms: Sequence[str] | None = None,
    budget: str | float | None = None,
    wait_quiet: bool = False,
    task: str = "",
    answer_limit: float | None = None,
    name: str | None = None,
    folder: str | Path | None = None,
    trust: bool | str = False,
    callback: Callable[[str], object] | None = None,
) -> OptimizationResult:
    """Return the fastest variant of a fitted model that still meets the policy, as a drop-in replacement.

    The rows are split into two halves, by whole groups and in order of `time`. The search chooses among the variants
    on the first half; the winner is judged once, on the second half. If no faster variant passes, the original model
    is returned, and `improved` is False.

    Parameters
    ----------
    model : estimator, booster, str or Path
        A fitted model (scikit-learn, LightGBM, XGBoost, CatBoost), the path of a model file, or an address in MLflow:
        ``"models:/name@alias"``, ``"models:/name/3"``, ``"runs:/id/model"``.
    X : array-like of shape (n, d)
        Rows that the model was not trained on: a polars, pandas or Arrow table, a NumPy array or a SciPy sparse matrix.
        Others may be among them if `trained_on` says which.
    y : array-like of shape (n,)
        Their labels, in the form that the model was trained on; an indicator matrix (n, k) for several labels a row.
        None or NaN marks a row of a classifier without a label: it counts for ``decision_churn`` alone.
    groups : array-like of shape (n,) or str, optional
        Group of each row (a day, a customer), or the name of a column of `X`. Rows of one group are dependent: they
        stay in one half, and intervals resample by group. By default each row is a group.
    time : array-like of shape (n,) or str, optional
        Time of each row, or the name of a column. The earlier half is for the search, the later half for the verdict.
    query_id : array-like of shape (n,) or str, optional
        For a ranker: the query of each row. Default: `groups`.
    sample_weight : array-like of shape (n,) or str, optional
        Weight of each row in the metrics.
    trained_on : array-like of bool, shape (n,), optional
        True for the rows that the model was trained on. They choose and judge nothing: transforms that train learn from
        them, such as `distil`, which makes fast students of a slow model.
    slices : sequence of str
        Columns of `X` whose values are evaluated one by one.
    views : sequence of FeatureView or str
        Feature views that columns of `X` were joined from, or their references in the store of `folder`:
        ``["weather@v2"]``. A server then looks these columns up by their entities.
    costs : mapping, optional
        Cost of a wrong decision: ``{"false_positive": 1, "false_negative": 4}``. The decision threshold minimizes it;
        without costs the model decides as its own `predict` does.
    policy : mapping, optional
        Upper limits by measure: ``{"roc_auc.drop": 0.002, "decision_churn": 0.0, "floor": "data"}``. The floor is
        "data" (the model must also be better than the constant prediction and than a simple reference model) or "none";
        limits that all compare with the baseline are undecided without it. By default the rules of the task in
        `headway.registry.default_policy`, or the policy of the project in `folder`.
    objective : str, optional
        Measurement to minimize among the feasible variants. Default: ``"latency.one_row"``.
    transforms : sequence of str, optional
        Transforms to try, such as ``["trees", "onnx"]``; by default all that apply.
    budget : str or float, optional
        Time limit of the whole call: ``"60s"``, ``"5m"``, or seconds. Forms that keep the answers are tried first; what
        would not end in time is left out (`why`), and the time to judge the winner is reserved. On a busy machine the
        first compiled form is tried all the same, so that the call may end late.
    wait_quiet : bool
        Wait until other processes leave the cores before speed is measured, at most 10 minutes. On a busy machine
        the result has no speedup, and variants are ordered by their CPU time.
    task : {"binary", "multiclass", "multilabel", "regression", "ranking", "embedding"}, optional
        Read from the model, or inferred from `y`, if not given.
    answer_limit : float, optional
        Largest share of wrong answers among the rows that a classifier answers alone, such as 0.05. It then answers
        only rows whose confidence reaches a threshold that is certified on the second half; `answers` is that plan.
    name : str, optional
        Name under which the model is released.
    folder : str or Path, optional
        Folder that keeps the evidence; if it holds a headway.toml, its name, policy and keys apply. By default a
        temporary folder that is deleted together with the result.
    trust : bool or str
        Open model files that can run code (pickle, joblib); an unsafe one only if this is its digest
        (``"sha256:..."``).
    callback : callable, optional
        Called with one line of text for each step. By default progress is shown in the terminal.

    Returns
    -------
    OptimizationResult
        A model with `predict` and `predict_proba`, and the search result: `improved`, `verdict`, `speedup`, `why`,
        `table`.

    Raises
    ------
    DataError
        If rows, labels or a column do not fit the model; the message names the column.
    EngineError
        If no engine can open the model.

    Examples
    --------
    >>> best = hw.optimize(model, X_new, y_new, groups="day")  # doctest: +SKIP
    >>> best.speedup, best.verdict.answer  # doctest: +SKIP
    """
    began = monotonic()
    memory = create_project(
        model,
        X,
        y,
        groups=groups,
        time=time,
        query_id=query_id,
        sample_weight=sample_weight,
        trained_on=trained_on,
        slices=slices,
        views=views,
        costs=costs,
        policy=policy,
        objective=objective,
        transforms=transforms,
        budget=budget,
        wait_quiet=wait_quiet,
        task=task,
        answer_limit=answer_limit,
        name=name,
        folder=folder,
        trust=trust,
    )
    data = memory.halves()
    refit = None if memory.train is None or memory.native else refit_of(model, X, y, trained_on)
    time_budget = TimeBudget(memory.project.config[OptimizeSection].budget_s, began=began)

    def result_of(search: SearchResult) -> OptimizationResult:
        return OptimizationResult(search, pipeline.open_winner(memory.project, search), memory)

    def measure_calls(search: SearchResult) -> list[Measurement | NotApplicable]:
        limit_s = time_budget.timing_s
        if isinstance(model, str | Path):
            return native_calls(memory.project, memory.rows.table, limit_s=limit_s)(search)
        names, threads = () if memory.native else memory.imported.names, memory.imported.threads
        return time_as_called(model, result_of(search), X, names=names, threads=threads, limit_s=limit_s)

    with progress(callback) as report:
        baseline = pipeline.import_model(memory.project, memory.imported, data)
        search = pipeline.optimize(
            memory.project,
            baseline,
            data,
            budget=time_budget,
            measure_calls=measure_calls,
            refit=refit,
            callback=report,
        )
    result = result_of(search)
    if isinstance(model, str | Path | Model) or memory.native:
        return result
    return result.use_library_calls(library_calls(model, result, X))


@renamed_arguments(lists="query_id", weight="sample_weight")
def evaluate(
    model: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    time: Any = None,
    query_id: Any = None,
    sample_weight: Any = None,
    slices: Sequence[str] = (),
    costs: Mapping[str, float] | None = None,
    policy: Mapping[str, float | str] | None = None,
    task: str = "",
    name: str | None = None,
    folder: str | Path | None = None,
    trust: bool | str = False,
) -> EvaluationResult:
    """Evaluate a fitted model on labeled rows: every metric with its interval, and the findings.

    Parameters
    ----------
    model : estimator, booster, str or Path
        A fitted model, or the path of a model file.
    X : array-like of shape (n, d)
        Rows that the model was not trained on.
    y : array-like of shape (n,)
        Their labels, in the form that the model was trained on.
    groups : array-like of shape (n,) or str, optional
        Group of each row, or the name of a column; intervals resample by group. By default each row is a group.
    time : array-like of shape (n,) or str, optional
        Time of each row, or the name of a column.
    query_id : array-like of shape (n,) or str, optional
        For a ranker: the query of each row. Default: `groups`.
    sample_weight : array-like of shape (n,) or str, optional
        Weight of each row in the metrics.
    slices : sequence of str
        Columns of `X` whose values are evaluated one by one.
    costs : mapping, optional
        Cost of a wrong decision: ``{"false_positive": 1, "false_negative": 4}``. The decision threshold minimizes it;
        without costs the model decides as its own `predict` does.
    policy : mapping, optional
        Upper limits by measure, for the verdict that is kept in `folder`.
    task : {"binary", "multiclass", "multilabel", "regression", "ranking", "embedding"}, optional
        Read from the model, or inferred from `y`, if not given.
    name : str, optional
        Name of the model in the evidence.
    folder : str or Path, optional
        Folder that keeps the evidence; by default a temporary one.
    trust : bool or str
        Open model files that can run code (pickle, joblib); an unsafe one only if this is its digest
        (``"sha256:..."``).

    Returns
    -------
    EvaluationResult
        ``result["roc_auc"]`` is a measurement with `value`, `low` and `high`; `evidence` holds all of them.

    Raises
    ------
    DataError
        If rows, labels or a column do not fit the model.
    """
    memory = create_project(
        model,
        X,
        y,
        groups=groups,
        time=time,
        query_id=query_id,
        sample_weight=sample_weight,
        slices=slices,
        costs=costs,
        policy=policy,
        task=task,
        name=name,
        folder=folder,
        trust=trust,
    )
    return EvaluationResult(pipeline.evaluate_model(memory.project, memory.imported, memory.rows).evidence)


@renamed_arguments(lists="query_id", weight="sample_weight")
def compare(
    model: Any,
    other: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    time: Any = None,
    query_id: Any = None,
    sample_weight: Any = None,
    slices: Sequence[str] = (),
    costs: Mapping[str, float] | None = None,
    policy: Mapping[str, float | str] | None = None,
    task: str = "",
    name: str | None = None,
    folder: str | Path | None = None,
    trust: bool | str = False,
) -> ComparisonResult:
    """Compare another model with this one, row by row on the same labeled rows, and judge the difference.

    Differences are paired. A positive ``.drop`` means that `other` is worse.

    Parameters
    ----------
    model : estimator, booster, str or Path
        The baseline: a fitted model, or the path of a model file.
    other : estimator, booster, str or Path
        The candidate; it may read other columns of `X`.
    X : array-like of shape (n, d)
        Rows that neither model was trained on.
    y : array-like of shape (n,)
        Their labels, in the form that the models were trained on.
    groups : array-like of shape (n,) or str, optional
        Group of each row, or the name of a column; intervals resample by group. By default each row is a group.
    time : array-like of shape (n,) or str, optional
        Time of each row, or the name of a column.
    query_id : array-like of shape (n,) or str, optional
        For rankers: the query of each row. Default: `groups`.
    sample_weight : array-like of shape (n,) or str, optional
        Weight of each row in the metrics.
    slices : sequence of str
        Columns of `X` whose values are evaluated one by one.
    costs : mapping, optional
        Cost of a wrong decision: ``{"false_positive": 1, "false_negative": 4}``. The decision threshold minimizes it;
        without costs the model decides as its own `predict` does.
    policy : mapping, optional
        Upper limits by measure. By default those of `optimize` that two separately trained models can meet: the
        ``.drop`` measures.
    task : {"binary", "multiclass", "multilabel", "regression", "ranking", "embedding"}, optional
        Read from the model, or inferred from `y`, if not given.
    name : str, optional
        Name of the model in the evidence.
    folder : str or Path, optional
        Folder that keeps the evidence; by default a temporary one.
    trust : bool or str
        Open model files that can run code (pickle, joblib); an unsafe one only if this is its digest
        (``"sha256:..."``).

    Returns
    -------
    ComparisonResult
        `answer` is "pass", "fail" or "undecided"; `verdict` and `evidence` say why.

    Raises
    ------
    DataError
        If rows, labels or a column do not fit a model.
    """
    memory = create_project(
        model,
        X,
        y,
        groups=groups,
        time=time,
        query_id=query_id,
        sample_weight=sample_weight,
        slices=slices,
        costs=costs,
        policy=policy,
        task=task,
        name=name,
        folder=folder,
        trust=trust,
        drops_only=True,
    )
    candidate = open_model(other, trust=trust)
    return ComparisonResult(pipeline.compare_models(memory.project, memory.imported, candidate, memory.rows))


@renamed_arguments(weight="sample_weight", learned="training_data")
def learning_curve(
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    sample_weight: Any = None,
    training_data: tuple[Any, ...] | None = None,
    task: str = "",
    every: int | None = None,
) -> LearningCurveRecorder:
    """Record a learning curve while a model is trained, and say whether it still learns, is flat, or overfits.

    Pass one attribute of the result as a callback of the training: ``callbacks=[curve.lightgbm]`` (or
    `curve.xgboost`, `curve.catboost`); call ``curve.sklearn(model)`` or ``curve.torch(module)`` after a step.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows held out of the training, in the form that the library reads.
    y : array-like of shape (n,)
        Their labels.
    groups : array-like of shape (n,), optional
        Group of each row, in order of time if its values are; intervals resample by group.
    sample_weight : array-like of shape (n,), optional
        Weight of each row in the error.
    training_data : tuple (X, y) or (X, y, groups), optional
        Rows that the model is trained on; with them overfitting is distinguished from a plain rise of the error.
    task : {"binary", "multiclass", "regression"}, optional
        Inferred from `y` if not given.
    every : int, optional
        Evaluate every this many rounds; by default ever more rarely.

    Returns
    -------
    LearningCurveRecorder
        ``print(curve)`` gives the conclusion; ``curve.save(folder)`` adds it to a project's report.
    """
    return start_curve(
        X, y, groups=groups, sample_weight=sample_weight, training_data=training_data, task=task, every=every
    )


def load(reference: str | Path, *, project: str | Path = ".") -> Model:
    """Load a verified release, or a file that `best.save` wrote, as a model.

    Parameters
    ----------
    reference : str or Path
        A pointer (``"flights@live"``), a digest (``"flights@4f2a..."``), or the path of a saved model.
    project : str or Path
        Folder with headway.toml, for a release.

    Returns
    -------
    Model
        `predict` and `predict_proba`; it reads the columns of its feature views from the rows as well.

    Raises
    ------
    Refused
        If the signature does not verify.
    StoreError
        If the reference names no release, or the file is not a saved model.
    """
    if isinstance(reference, Path) or "@" not in reference or Path(reference).is_file():
        return load_model(Path(reference))
    bundle, engine = pipeline.load(open_project(Path(project)), reference)
    release = bundle.release
    return Model(
        release.variant,
        engine,
        threshold=release.threshold,
        threshold_rule=release.threshold_rule,
        calibrator=release.calibrator,
        content=bundle.model,
    )


def load_encoder(folder: str | Path) -> Any:
    """Load a sentence encoder as the first step of a scikit-learn pipeline.

    Texts beyond the number of tokens that the encoder reads are cut there, as its library does.

    Parameters
    ----------
    folder : str or Path
        Folder as `SentenceTransformer.save`, Optimum (`model.onnx`) or `StaticModel.save_pretrained` of model2vec wrote
        it. Nothing is downloaded, and no pickle and no code of the folder is opened.

    Returns
    -------
    SentenceEncoder
        A transformer of scikit-learn: `transform` turns texts into vectors; `fit` learns nothing.

    Raises
    ------
    EngineError
        If the folder holds no encoder that can be read.
    PluginError
        If tokenizers, safetensors or onnx is not installed: ``pip install 'headway[encoders]'``.
    """
    return load_engine("sklearn").encoder_step(open_encoder(Path(folder)))  # type: ignore[attr-defined]
