"""Import a fitted model or a model file as the baseline variant.

E007: the rows are, or look like, those that the model was trained on.
E010: an estimator or the project declares that the model was trained with differential privacy, its epsilon (note).

A file that can run code when it is opened (pickle, joblib, torch archives) is opened only with trust, once, in a
subprocess: a crash ends only that process, and only bytes are returned. It has no network, and reads files without
changing them, as far as the kernel allows that. A graph is data, but it can loop: a subprocess whose time and memory
are limited imports it first.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import msgspec
import numpy as np

from headway.core import plugins
from headway.core.arrays import Floats
from headway.core.contracts import Blobs, DeclaredColumn, Engine, ImportedModel, ModelFile, ModelSource
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError, EngineError, NotApplicable, PluginError, Refused
from headway.core.evidence import DECLARED_PRIVACY, TRAINING_ROWS, Finding
from headway.core.record import Settings, digest_of
from headway.core.variant import MULTILABEL, Artifact, Field, Signature, Variant
from headway.data.matrix import STRING_DTYPES, dataset_signature, matrix
from headway.data.refusals import with_refusals
from headway.data.settings.model import ModelSection
from headway.engines.formats.external_data import external_files
from headway.optimization.importers import confinement, huggingface, mlflow, trial
from headway.scanning.allowed import is_listed
from headway.scanning.canonical import MEANING, canonical_form, expect_readable, named_globals
from headway.scanning.files import refuse_unsafe
from headway.scanning.pickles import MAX_PROBLEMS
from headway.scanning.verdicts import FileVerdict

Trust = bool | str
"""Whether files that can run code are opened, or the digest (`sha256:...`) of the one file that is."""

UNSAFE_SUFFIXES = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".sav"), "sklearn"),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pt2"), "torch"),
}
"""Suffixes of files that can run code when opened, and the engine whose library opens them."""


PROBED_ROWS = 64
"""Rows among which one is searched that the model answers, to find the values that it refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpickleResult:
    """Model of a trusted file, or the error that opening it gave; `is_refused` if it named what was not judged."""

    model: ImportedModel | None = None
    what: str = ""
    where: str = ""
    hint: str = ""
    is_refused: bool = False


def open_model_file(path: Path, *, trust: Trust = False) -> ModelFile | ImportedModel:
    """Read a model file; import one that can run code at once, in a subprocess.

    Parameters
    ----------
    path
        Model file; the folder of an MLflow model or of a snapshot of the Hugging Face Hub; or an address in MLflow
        (`models:/name@alias`, `runs:/id/model`).
    trust
        Whether to open a file that can run code; or the digest of one file, which is opened whatever the scan of it
        finds.

    Raises
    ------
    EngineError
        If the file cannot be read or opened.
    Refused
        If the file can run code and `trust` is false, or if it is unsafe and `trust` is not its digest.
    """
    shown = str(path)
    if mlflow.is_address(path):
        with tempfile.TemporaryDirectory(prefix="headway-") as folder:
            source = mlflow.find_model(mlflow.download(shown, Path(folder)), shown=shown)
            return _open_source(source, trust=trust, shown=shown)
    if path.is_dir():
        return _open_source(_find_in_folder(path), trust=trust, shown=shown)
    return _open_source(ModelSource(path=path, suffix=path.suffix.lower()), trust=trust, shown=shown)


def _find_in_folder(folder: Path) -> ModelSource:
    """Return the model file of a folder that a registry wrote."""
    if mlflow.is_folder(folder):
        return mlflow.find_model(folder, shown=str(folder))
    if huggingface.reads_texts(folder):
        raise EngineError(
            "the model of this snapshot reads texts, and a table holds their tokens here",
            where=str(folder),
            hint="hw.optimize(folder, texts, labels) keeps the tokenizer in Python",
        )
    if huggingface.is_snapshot(folder):
        return huggingface.find_model(folder)
    raise EngineError(
        "the folder holds neither an MLmodel file nor config.json",
        where=str(folder),
        hint="pass the model file itself, the folder of an MLflow model, or a snapshot of the Hugging Face Hub",
    )


def _open_source(source: ModelSource, *, trust: Trust, shown: str) -> ModelFile | ImportedModel:
    try:
        file = ModelFile(content=source.path.read_bytes(), suffix=source.suffix, columns=source.columns)
    except OSError as error:
        raise EngineError(f"cannot read the model file: {error.strerror}", where=shown) from error
    digest = trust if isinstance(trust, str) else ""
    verdict = refuse_unsafe(file.content, name=f"model{file.suffix}", shown=shown, digest=digest)
    if not (source.runs_code or unsafe_opener(file)):
        return replace(file, content=_embedded(file.content, source.path)) if file.suffix == ".onnx" else file
    if not trust:
        raise Refused(
            f"a {file.suffix or 'nameless'} file can run code when it is opened",
            where="; ".join([shown, *_unjudged(verdict)]),
            hint=f"headway optimize {shown} --trust, if you trust its author; in Python: trust=True",
        )
    names = None
    if verdict is not None:
        own = digest_of(file.content)
        expect_readable(verdict, shown=shown, digest=own)
        file = replace(file, content=canonical_form(file.content))
        names = named_globals(file.content)
        _expect_shown(names, shown=shown, digest=own)
    return replace(_import_in_subprocess(source, file.content, names), columns=source.columns)


def _expect_shown(names: set[tuple[str, str]], *, shown: str, digest: str) -> None:
    """Raise Refused if a file refers to more globals that are not judged than its verdict lists."""
    unjudged = sorted(f"{module}.{name}" for module, name in names if not is_listed(module, name))
    if len(unjudged) > MAX_PROBLEMS:
        raise Refused(
            f"the file refers to {len(unjudged):,} classes that are not judged, and a verdict lists {MAX_PROBLEMS}",
            where=f"{shown}: {', '.join(unjudged)}",
            hint=f"--digest {digest} opens exactly this file all the same",
        )


def _unjudged(verdict: FileVerdict | None) -> list[str]:
    """Return each thing that a file names and that was not judged."""
    problems = () if verdict is None else verdict.problems
    return [f"not judged: {problem.message}" for problem in problems if problem.code in MEANING]


def default_name(model: Path) -> str:
    """Return the name of a model that is given by its file, folder or address."""
    return mlflow.model_name(str(model)) if mlflow.is_address(model) else model.stem


def _embedded(content: bytes, path: Path) -> bytes:
    """Return an ONNX graph with the values that it keeps in files next to it."""
    files = external_files(content)
    if not files:
        return content
    where = f"{path}: {', '.join(files[:3])}"
    try:
        helper = importlib.import_module("onnx.external_data_helper")
        graph = importlib.import_module("onnx").load_from_string(content)
        helper.load_external_data_for_model(graph, str(path.parent))
        complete: bytes = graph.SerializeToString()
    except ModuleNotFoundError as error:
        raise EngineError(
            "the graph keeps its weights in other files, which onnx reads", where=where, hint=plugins.install("onnx")
        ) from error
    except Exception as error:  # the library has no common class for a missing file, a bad path or more than 2 GiB
        raise EngineError(
            f"the weights of the graph cannot be read: {str(error).partition(chr(10))[0]}",
            where=where,
            hint="keep them next to the graph, as onnx.save wrote them; together at most 2 GiB",
        ) from error
    return complete


def unsafe_opener(file: ModelFile) -> str:
    """Return the engine that opens a file which can run code; empty for a file that is data."""
    is_pickle = file.content[:1] == b"\x80" and file.content[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return UNSAFE_SUFFIXES.get(file.suffix, "sklearn" if is_pickle else "")


def _import_in_subprocess(
    source: ModelSource, content: bytes, names: set[tuple[str, str]] | None = None
) -> ImportedModel:
    """Import the judged bytes of a trusted file in a subprocess, which finds the code that came with the file.

    Its pickles may refer to the globals in `names` only; None for a file that was named by its digest.
    """
    path = source.path
    with tempfile.TemporaryDirectory(prefix="headway-") as folder:
        answer, judged = Path(folder) / "model", Path(folder) / f"judged{source.suffix}"
        judged.write_bytes(content)  # not the path again: the file there may have changed since it was judged
        command = [sys.executable, "-m", confinement.__name__, folder, "headway.optimization.importers.unpickle"]
        command += [str(judged), str(answer)]
        if names is not None:
            named = Path(folder) / "names"
            named.write_bytes(msgspec.json.encode(sorted(names)))
            command.append(str(named))
        environment = subprocess_environment(*filter(None, [source.code])) | {"TMPDIR": folder}
        run = subprocess.run(
            command, env=environment, check=False, capture_output=True, text=True, errors="backslashreplace"
        )
        if run.returncode:
            raise EngineError(
                f"opening the file ended Python with {_describe_exit(run.returncode)}",
                where=str(path),
                hint="open it where it was made, and save it in a data-only format: skops, ONNX, or its library's own",
            )
        allowed = msgspec.json.decode(run.stdout.partition("\n")[0], type=list[str])
        try:
            result = msgspec.msgpack.decode(answer.read_bytes(), type=UnpickleResult)
        except (OSError, msgspec.DecodeError) as error:  # code in the file ended the process, or wrote there
            raise EngineError(
                "code in the file ended the process that opened it, or changed its answer",
                where=str(path),
                hint=f"headway scan {path} shows what the file runs",
            ) from error
    if result.model is None:
        kind = Refused if result.is_refused else EngineError
        raise kind(result.what, where="; ".join(filter(None, [str(path), result.where])), hint=result.hint)
    return replace(result.model, findings=(*result.model.findings, *_not_confined(allowed)))


def _not_confined(allowed: Sequence[str]) -> list[Finding]:
    """Return a finding if the process that opened a trusted file could do what a confined one cannot."""
    if not allowed:
        return []
    return [
        Finding(
            code="E011",
            severity="warn",
            message=f"code in the trusted file could {' and '.join(allowed)} while it was opened: this system does not "
            "deny it",
            hint="open files of others on Linux 5.13 or later, with Landlock and seccomp",
        )
    ]


_DEFAULTS = ModelSection()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportLimits:
    """Limits of the process in which a graph is imported first: its time, and its memory beyond that of the library."""

    timeout_s: float = _DEFAULTS.import_timeout_s
    memory_mb: int = _DEFAULTS.import_memory_mb


_tried: set[tuple[str, str]] = set()


def _try_import(name: str, file: ModelFile, limits: ImportLimits) -> None:
    """Import a file in a limited subprocess; raise EngineError if that does not end well. Each file is tried once."""
    key = (name, digest_of(file.content))
    if key in _tried:
        return
    command = [sys.executable, "-m", trial.__name__, name, file.suffix, str(limits.timeout_s), str(limits.memory_mb)]
    where = f"imported in a process of its own, with {limits.memory_mb:,} MB"
    hint = "a loop without an end? Otherwise: [model] import_timeout_s and import_memory_mb"
    try:
        run = subprocess.run(
            command,
            input=file.content,
            env=subprocess_environment(),
            check=False,
            capture_output=True,
            timeout=limits.timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"the graph did not answer a row within {limits.timeout_s:g} s", where=where, hint=hint
        ) from error
    if run.returncode == trial.REFUSED:
        raise EngineError(**msgspec.json.decode(run.stdout, type=dict[str, str]))
    if run.returncode:
        raise EngineError(
            f"importing the graph ended its process with {_describe_exit(run.returncode)}", where=where, hint=hint
        )
    _tried.add(key)


def open_encoder(folder: Path, *, limits: ImportLimits | None = None) -> bytes:
    """Read a sentence encoder from its folder; a graph that comes with it runs in a limited subprocess first."""
    content, is_foreign = huggingface.read_encoder(folder)
    if is_foreign:
        _try_import("encoder", ModelFile(content=content, suffix=".encoder"), limits or ImportLimits())
    return content


def subprocess_environment(*folders: str) -> dict[str, str]:
    """Return the environment of a subprocess that finds the same classes as this process, and those of `folders`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in (*sys.path, *folders))}


def _describe_exit(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def import_baseline(
    model: object | ImportedModel, dataset: Dataset, blobs: Blobs, *, signature: Signature | None = None
) -> Variant:
    """Import a fitted model as the variant with no steps, on the number of threads that it was set to.

    Parameters
    ----------
    model
        Fitted model, ModelFile or ImportedModel.
    dataset
        Data with the columns that the model reads.
    blobs
        Store for the artifact.
    signature
        Inputs and output; inferred from the model and the dataset by default. If it has texts, the model was fitted
        on strings, and says itself which of these inputs it reads.

    Raises
    ------
    EngineError
        If no engine can import the model; the error lists them.
    DataError
        If the dataset lacks columns that the model reads.
    """
    imported = import_fitted_model(model)
    _check_declared(imported.columns, dataset)
    if imported.variant is not None:
        blobs.put(imported.content)
        expect_features(imported.variant.signature.names, dataset)
        return msgspec.structs.replace(imported.variant, steps=())
    engine, content = plugins.load_engine(imported.engine), imported.content
    if signature is None or signature.texts:
        declared = dataset if signature is None else _only_inputs(dataset, signature)
        found = infer_signature(imported, declared)
        signature = found if signature is None else msgspec.structs.replace(found, classes=signature.classes)
        content, signature = engine.bind(content, signature) if hasattr(engine, "bind") else (content, signature)
        _check_texts(imported, signature, engine)
    own = imported.threads if "threads" in getattr(engine, "defaults", {}) else 0
    settings: Settings = {"threads": own} if own else {}
    digest = blobs.put(content)
    opened = plugins.open_baseline(imported.engine, digest, content, settings)
    rows, task = matrix(dataset.table.head(PROBED_ROWS), signature), imported.task or dataset.roles.task
    _check_label_sets(task, dataset)
    _check_outputs(opened, rows, task)
    _check_classes(imported, signature)
    return Variant(
        artifact=Artifact(format=engine.formats[0], digest=digest, size_bytes=len(content)),
        engine=imported.engine,
        signature=with_refusals(opened, rows, signature),
        task=task,
        settings=dict(settings),
    )


def _check_outputs(engine: Engine, rows: Floats, task: str) -> None:
    """Raise EngineError if the model does not answer as many numbers a row as its task needs."""
    width = engine.predict(rows[:0]).shape[1]
    several = {"multiclass": "one for each class", MULTILABEL: "one for each label"}
    expected = several.get(task, "one")
    if task == "embedding" or (width > 1) == (task in several):
        return
    names = getattr(engine, "outputs", ())
    raise EngineError(
        f"the model answers {width} numbers a row, and the task {task!r} needs {expected}",
        where=f"outputs: {', '.join(names)}" if names else "",
        hint="end a classifier in a sigmoid or softmax; task='embedding' compares all numbers of a model with several",
    )


def _check_label_sets(task: str, dataset: Dataset) -> None:
    """Raise DataError if a row has several labels in the model or in the data, but not in both."""
    declared = dataset.roles.task
    if task != declared and MULTILABEL in (task, declared):
        raise DataError(
            f"the model is a {task} model, and the task of the data is '{declared}'",
            where="[data] task",
            hint="a multilabel model is fitted on an indicator matrix (n, k), as by OneVsRestClassifier().fit(X, Y), "
            "and judged by labels such as 'billing|delivery'",
        )


def _only_inputs(dataset: Dataset, signature: Signature) -> Dataset:
    return replace(dataset, table=dataset.table.select(signature.names))


def _check_texts(imported: ImportedModel, signature: Signature, engine: type[Engine]) -> None:
    """Raise EngineError if the model reads a column of texts, and its engine none."""
    if signature.texts and not hasattr(engine, "bind"):
        raise EngineError(
            f"column '{signature.texts[0]}' holds texts, and a model of {imported.engine} reads numbers",
            where="[data] text",
            hint="begin with a vectorizer of scikit-learn: make_pipeline(TfidfVectorizer(), LogisticRegression())",
        )


def _check_classes(imported: ImportedModel, signature: Signature) -> None:
    """Raise DataError if a model of some numbered classes was trained without rows of one of them."""
    if imported.task == MULTILABEL and len(imported.classes) != len(signature.classes):
        raise DataError(
            f"the model has {len(imported.classes)} labels, and {len(signature.classes)} are declared",
            where="[data] classes",
            hint="the function of [model] train gets an indicator matrix (n, k) with a column for each of classes: fit "
            "the model on all of them",
        )
    learned = {int(float(name)) for name in imported.classes if re.fullmatch(r"\d+(\.0)?", name)}
    if not signature.classes or len(learned) != len(imported.classes) or not learned:
        return
    absent = [name for index, name in enumerate(signature.classes) if index not in learned]
    if absent and imported.task == "multiclass":
        raise DataError(
            f"{len(absent)} of {len(signature.classes)} classes have no row that the model was trained on: "
            + ", ".join(absent[:5]),
            where="[data] classes",
            hint="add rows of these classes to the training period, or remove them from the table and from classes",
        )


MIN_LEAVES = 4


def find_training_rows(engine: Engine, rows: Callable[[], Floats], *, n_rows: int) -> list[Finding]:
    """Return a finding if rows fill the leaves of a model's first tree exactly as its training rows did.

    Parameters
    ----------
    rows : callable
        Returns the rows, float64 (n_rows, d); called only if their number is that of the training rows.
    """
    known = getattr(engine, "training_leaves", None)
    counts = known() if known else np.empty(0, dtype=np.int64)
    if (counts > 0).sum() < MIN_LEAVES or int(counts.sum()) != n_rows:
        return []
    leaves = np.bincount(getattr(engine, "leaves")(rows()), minlength=len(counts))  # noqa: B009 - optional, not in the Protocol
    if len(leaves) != len(counts) or (leaves != counts).any():
        return []
    return [
        Finding(
            code=TRAINING_ROWS,
            severity="undecided",
            message=f"these {n_rows:,} rows are those that the model was trained on: they fill all "
            f"{int((counts > 0).sum())} leaves of its first tree as its training rows did",
            hint="pass rows that the model has not seen: its quality on these says nothing about others",
        )
    ]


def import_fitted_model(model: object | ImportedModel, *, limits: ImportLimits | None = None) -> ImportedModel:
    """Import a fitted model, or a ModelFile, with the first engine that knows its library.

    A model that is a program, such as an ONNX graph, is imported in a subprocess with these limits first.

    Raises
    ------
    EngineError
        If no engine can import it; the error lists them. Also if no measure judges what it predicts.
    """
    if isinstance(model, ImportedModel):
        return model
    _refuse_code(model)
    refusals: list[str] = []
    hints: list[str] = []
    for name in _sort_engines(model):
        try:
            with plugins.guarded("engine", name):
                imported = _import_by(name, model, limits or ImportLimits())
            _refuse_unjudged(imported.task, model)
            findings = (*imported.findings, *_declared_privacy(model))
            return _with_declared(replace(imported, engine=imported.engine or name, findings=findings), model)
        except (NotApplicable, PluginError) as reason:
            refusals.append(f"{name}: {reason.what}")
            hints += [reason.hint] if isinstance(reason, PluginError) and isinstance(model, ModelFile) else []
    raise EngineError(
        f"no engine imports {_describe_model(model)}",
        where="; ".join(refusals),
        hint=" or ".join([*hints, conversion_hint(model)]),
    )


def _import_by(name: str, model: object, limits: ImportLimits) -> ImportedModel:
    engine = plugins.load_engine(name)
    program = getattr(engine, "program", None)
    if program is not None and (file := program(model)) is not None:
        _try_import(name, file, limits)
    return engine.import_model(model)


def _refuse_code(model: object) -> None:
    """Raise EngineError for a function, a method or a class, before any library is imported to look at it."""
    if isinstance(model, type):
        what, hint = f"the class {model.__name__} is not a fitted model", f"{model.__name__}(...).fit(X, y)"
    elif isinstance(model, MethodType) and not isinstance(model.__self__, type | ModuleType):
        owner = type(model.__self__).__name__
        what, hint = f"a method of a {owner} is not a model", f"pass the {owner} itself, without .{model.__name__}"
    elif isinstance(model, FunctionType | BuiltinFunctionType | MethodType | functools.partial):
        what, hint = "a function is not a fitted model", "pass the object that was fitted, or a model file"
    else:
        return
    raise EngineError(what, hint=hint)


_UNJUDGED_TASKS = {
    "anomaly": (
        "an anomaly score",
        "fit a classifier on rows whose anomalies are labelled, and pass that; until then call the model itself",
    ),
    "quantile": (
        "a quantile or an expectile",
        "a median is judged by its absolute error: fit it with that loss (regression_l1, absolute_error or MAE)",
    ),
    "survival": (
        "a survival time or a hazard",
        "fit a regression, or a classifier of 'event before a date', and pass that",
    ),
}
"""What models of these tasks predict, and what to do: measures of a mean would say something wrong of them."""


def _refuse_unjudged(task: str, model: object) -> None:
    """Raise EngineError for a model that no measure judges."""
    if task in _UNJUDGED_TASKS:
        predicted, hint = _UNJUDGED_TASKS[task]
        raise EngineError(
            f"the model predicts {predicted}, and headway has no measure of that yet",
            where=_describe_model(model),
            hint=hint,
        )


def _declared_privacy(model: object) -> tuple[Finding, ...]:
    """Return the epsilon that an estimator declares as those of diffprivlib do: next to a budget accountant.

    Other estimators have an `epsilon` too, such as the width of a tube.
    """
    epsilon = getattr(model, "epsilon", None)
    if not hasattr(model, "accountant") or not isinstance(epsilon, int | float):
        return ()
    delta = getattr(model, "delta", None)
    return (_privacy_finding("model", float(epsilon), delta=delta if isinstance(delta, int | float) else 0.0),)


def declared_training_privacy(section: ModelSection) -> tuple[Finding, ...]:
    """Return the epsilon that the settings of a project declare, with its delta and mechanism.

    Raises
    ------
    ConfigError
        If there is a delta or a mechanism without an epsilon.
    """
    if section.epsilon is None:
        if section.delta or section.mechanism:
            name = "delta" if section.delta else "mechanism"
            raise ConfigError(f"{name} is declared without an epsilon", where="[model]", hint="epsilon = 3.0")
        return ()
    return (_privacy_finding("project", section.epsilon, delta=section.delta, mechanism=section.mechanism),)


def _privacy_finding(who: str, epsilon: float, *, delta: float, mechanism: str = "") -> Finding:
    budget = f"epsilon {epsilon:g}" + (f", delta {delta:g}" if delta else "") + (f" ({mechanism})" if mechanism else "")
    return Finding(
        code=DECLARED_PRIVACY,
        severity="note",
        message=f"the {who} declares that the model was trained with differential privacy, {budget}; headway did not "
        "verify that",
        measured=epsilon,
        hint="measure what its answers give away: headway evaluate --audit membership",
    )


def _with_declared(imported: ImportedModel, model: object) -> ImportedModel:
    """Add the columns that a registry declares for a file; they name those of a model that does not name its own."""
    if not isinstance(model, ModelFile) or not model.columns:
        return imported
    declared = tuple(column.name for column in model.columns)
    is_unnamed = not imported.names and imported.width in (0, len(declared))
    return replace(imported, columns=model.columns, names=declared if is_unnamed else imported.names)


def _sort_engines(model: object) -> list[str]:
    """Sort engines: those named as a package of the model's classes first, since loading one imports its library."""
    roots = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    names = [name for name in plugins.names("engine") if plugins.declaration("engine", name, "IMPORTS_MODELS", True)]
    return sorted(names, key=lambda name: (roots.index(name) if name in roots else len(roots), names.index(name)))


def infer_signature(model: ImportedModel, dataset: Dataset) -> Signature:
    """Infer the columns that an imported model reads from the dataset, with the categories that it knows."""
    names = _match_spelling(model.names, dataset.table.columns)
    if not names and model.width == 1 and len(dataset.texts) == 1:
        names = tuple(dataset.texts)  # a pipeline that was fitted on a sequence of texts
    expect_features(names, dataset)
    read = replace(dataset, table=dataset.table.select(names)) if names else dataset
    there = dataset_signature(read)
    if model.width and len(there.names) != model.width:
        raise DataError(
            f"the model reads {model.width} columns, and the table has {len(there.names)} that are features",
            where=f"features: {', '.join(there.names)}",
            hint="leave out columns that are not features: [data] ignore",
        )
    return Signature(
        inputs=_with_categories(list(there.inputs), model.categories),
        classes=model.classes or dataset.roles.classes,
        absent="missing" if math.isnan(model.absent) else "zero",
    )


def _match_spelling(names: tuple[str, ...], columns: list[str]) -> tuple[str, ...]:
    """Return the model's names in the table's spelling: LightGBM writes `_` for each space."""
    written = {re.sub(r"\s", "_", column): column for column in columns}
    return tuple(name if name in columns else written.get(name, name) for name in names)


def _with_categories(fields: list[Field], categories: tuple[tuple[str, ...], ...]) -> tuple[Field, ...]:
    """Replace the categories that the table shows by the model's own, whose ranks it learned."""
    indices = [index for index, field in enumerate(fields) if field.datatype == "BYTES"]
    if not categories:
        return tuple(fields)
    if len(indices) != len(categories):
        categories = tuple(filter(None, categories))  # columns without names may be in the table as numbers
    if len(indices) != len(categories):
        raise DataError(
            f"the model reads {len(categories)} categorical columns, and the table has {len(indices)}",
            where=f"categorical columns: {', '.join(fields[index].name for index in indices) or 'none'}",
            hint="pass its categorical columns as strings",
        )
    for index, values in zip(indices, categories, strict=True):
        if values:
            fields[index] = Field(name=fields[index].name, datatype="BYTES", categories=values)
    return tuple(fields)


def _check_declared(columns: tuple[DeclaredColumn, ...], dataset: Dataset) -> None:
    """Raise DataError, which names the columns, where the table is not what a model's signature declares."""
    table = dataset.table
    missing = [column.name for column in columns if column.is_required and column.name not in table.columns]
    if missing:
        raise DataError(
            f"the model's signature declares columns that the table lacks: {', '.join(missing)}",
            where=f"{dataset.name} has: {', '.join(table.columns)}",
            hint="pass the table that the model was trained on, or rename its columns",
        )
    kinds = {"FP64": "a number", "BYTES": "a string"}
    other = [
        f"{column.name} is {table[column.name].dtype}, the signature declares {kinds[column.datatype]}"
        for column in columns
        if column.datatype and column.name in table.columns
        if (column.datatype == "BYTES") != (table[column.name].dtype in STRING_DTYPES)
    ]
    if other:
        raise DataError(
            f"the table has other types than the model's signature: {', '.join(other)}",
            where=dataset.name,
            hint="cast the columns, as before the model was trained",
        )


def expect_features(names: tuple[str, ...], dataset: Dataset) -> None:
    """Raise DataError if a model reads a column that the table lacks, or that no model may read."""
    missing = [name for name in names if name not in dataset.table.columns]
    if missing:
        near = difflib.get_close_matches(missing[0], dataset.table.columns, 1)
        raise DataError(
            f"the model reads columns that the table lacks: {', '.join(missing)}",
            where=f"{dataset.name} has: {', '.join(dataset.table.columns)}",
            hint=f"rename {near[0]} to {missing[0]}" if near else "pass the table that the model was trained on",
        )
    late = [name for name in names if name in dataset.roles.not_features]
    if late:
        raise DataError(
            f"the model reads {', '.join(late)}: known only after the outcome, or not a feature",
            where=f"decision: {dataset.roles.decision or 'at request'}",
            hint="a model that reads them cannot be served: train one without, or correct [data]",
        )


def _describe_model(model: object) -> str:
    if isinstance(model, ModelFile):
        return f"this {model.suffix or 'nameless'} file"
    return f"a {type(model).__module__}.{type(model).__name__}"


_KERAS = "model.export('model.onnx', format='onnx')"
_TENSORFLOW = "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
_JAX = "jax2onnx.to_onnx(function, [('B', d)], return_mode='file', output_path='model.onnx')"
_BY_LIBRARY = {
    "flax": _JAX,
    "h2o": "onnxmltools.convert_h2o(model.download_mojo())",
    "jax": _JAX,
    "jaxlib": _JAX,
    "keras": _KERAS,
    "mlflow": "load it with its own flavour (mlflow.sklearn.load_model), and import that model; or pass its address, "
    "'models:/NAME@ALIAS'",
    "pyspark": "onnxmltools.convert_sparkml(model, 'model', [('features', FloatTensorType([None, d]))])",
    "statsmodels": "put model.params into the coef_ and intercept_ of a LinearRegression or LogisticRegression of "
    "scikit-learn, and import that model",
    "tensorflow": f"{_TENSORFLOW}, after tf.saved_model.save(model, 'FOLDER')",
    "tf_keras": _TENSORFLOW,
}
_BY_SUFFIX = {
    ".h5": f"keras.models.load_model('model.h5'), then {_KERAS}",
    ".keras": f"keras.models.load_model('model.keras'), then {_KERAS}",
    ".pb": _TENSORFLOW,
    ".tflite": "python -m tf2onnx.convert --tflite model.tflite --output model.onnx",
}


def conversion_hint(model: object) -> str:
    """Return how to convert this model, or model file, to one that an engine imports.

    ONNX if nothing better is known.
    """
    if isinstance(model, ModelFile):
        hint = _BY_SUFFIX.get(model.suffix, "")
    else:
        libraries = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
        hint = next((_BY_LIBRARY[library] for library in libraries if library in _BY_LIBRARY), "")
    return hint or "save it as ONNX, and import that file"
