"""The families of bench/optimize.py: their callers, environments and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optimization.category_models import category_model_of
from optimization.class_models import class_directory, class_model_of
from optimization.datasets import rows_directory
from optimization.models import model_of
from optimization.paired_timing import ROUNDS, Caller
from optimization.preparation import net_of, taken_of
from optimization.sparse_models import sparse_directory, sparse_model_of

KINDS = ("one_row", "batch256")
CALLED = ("as called", "one thread")
FRAMES = tuple(f"{name}, DataFrame" for name in CALLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec:
    """A caller before its files are known: `file:function` of bench/callers, environment, threads (0: its default)."""

    call: str
    home: str = ""
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(self, name: str, model: Path, rows: Path) -> Caller:
        """Return the caller with its files."""
        return Caller(
            name=name,
            call=self.call,
            model=model,
            rows=rows,
            home=self.home,
            threads=self.threads,
            options=self.options,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A model and its callers; targets are of one_row, batch256, peer_one_row and peer_batch256.

    `bound` is the maximum of `measure`: `max_change` of a prediction from the library's, `accuracy_loss`, or for
    `cosine` 1 minus the smallest. One_row is compared with the library `as_called`, batch256 with it on `one_thread`.
    `data` are the files of rows and labels, `opener` the module whose `load_model` returns the model. A batch has
    `batch_rows`; targets with `needs_amx` apply on a CPU that has it. With `reads_frames` a row of a pandas DataFrame
    is timed as well, with a `decide_target` a decision without its score.
    """

    name: str
    message: str
    targets: tuple[float, float, float, float]
    as_called: CallSpec
    one_thread: CallSpec
    peers: Mapping[str, CallSpec]
    ours: CallSpec = CallSpec(call="of_headway:engine")
    transforms: tuple[str, ...] = ("trees",)
    measure: str = "max_change"
    bound: float = 1e-6
    least_rows: int = 20_000
    trained: Callable[[str], Path] = model_of
    data: Callable[[str], Path] = lambda _: rows_directory()
    rows_file: str = "test.npy"
    opener: str = "optimization.models"
    batch_rows: int = 256
    rounds: int = ROUNDS
    needs_amx: bool = False
    reads_frames: bool = False
    decide_target: float = 0

    @property
    def rows(self) -> Path:
        """Return the file of the rows of all callers."""
        return self.data(self.name) / self.rows_file

    @property
    def labels(self) -> Path:
        """Return the file of their labels."""
        return self.data(self.name) / "test-late.npy"

    @property
    def model(self) -> Path:
        """Return the folder of the model, trained on first use."""
        return self.trained(self.name)

    @property
    def order(self) -> dict[str, Any]:
        """Return the arguments of `searched`."""
        data = [str(self.rows), str(self.labels)]
        return {"name": self.name, "opener": self.opener, "model": str(self.model), "data": data}

    def callers(self) -> list[Caller]:
        """Return the library and its peers."""
        specs = {"as called": self.as_called, "one thread": self.one_thread, **self.peers}
        callers = [self.caller(spec, name, self.model) for name, spec in specs.items()]
        frames = [on_frames(caller) for caller in callers if self.reads_frames and caller.name in CALLED]
        return [replace(caller, judged=caller.name not in (CALLED[0], *FRAMES)) for caller in (*callers, *frames)]

    def caller(self, spec: CallSpec, name: str, model: Path) -> Caller:
        """Return a caller of these rows, in batches of this family's size."""
        return replace(spec.of(name, model, self.rows), batch_rows=self.batch_rows)


def on_frames(caller: Caller) -> Caller:
    """Return a caller with the rows as pandas DataFrames, made beforehand."""
    options = {**caller.options, "frames": True}
    return replace(caller, name=f"{caller.name}, DataFrame", options=options, judged=False)


def _trees(call: str, **options: Any) -> CallSpec:
    return CallSpec(call=call, home="trees", options=options)


def _nets(call: str, **options: Any) -> CallSpec:
    return CallSpec(call=call, home="nets", options=options)


COMPILED = {"treelite": _trees("of_treelite:gtil"), "tl2cgen": _trees("of_treelite:compiled")}
NEWEST = {
    "pylignum": CallSpec(call="of_pylignum:interpreted", home="pylignum"),
    "pylignum compiled": CallSpec(call="of_pylignum:compiled", home="pylignum"),
    "daal4py": CallSpec(call="of_intelex:model_builder", home="intelex"),
    "ydf": CallSpec(call="of_ydf:from_sklearn", home="ydf"),
}
"""Peers of November 2026; one that cannot read a model raises, and is not counted."""
ONE_THREAD = CallSpec(call="of_sklearn:predict_proba")
AS_CALLED = replace(ONE_THREAD, threads=0)
NETS: dict[str, Any] = {
    "as_called": replace(_nets("of_torch:as_called"), threads=0),
    "one_thread": _nets("of_torch:one_thread"),
    "peers": {
        "onnxruntime": _nets("of_onnx_nets:float32"),
        "onnxruntime dynamic int8": _nets("of_onnx_nets:dynamic_int8"),
        "onnxruntime static int8": _nets("of_onnx_nets:static_int8"),
        "openvino": _nets("of_openvino:float32"),
        "openvino bf16": _nets("of_openvino:bfloat16"),
        "nncf int8": _nets("of_openvino:nncf_int8"),
        "nncf int8, bf16": _nets("of_openvino:nncf_int8", precision="bf16"),
    },
    "ours": _nets("of_headway:engine"),
    "transforms": (),
    "trained": net_of,
    "data": net_of,
    "opener": "optimization.nets",
}
TAKEN: dict[str, Any] = {
    **NETS,
    "trained": taken_of,
    "data": taken_of,
    "opener": "optimization.pretrained",
    "least_rows": 100,
    "batch_rows": 16,
    "rounds": 5,
    "needs_amx": True,
}
MINILM: dict[str, Any] = {
    **TAKEN,
    "message": "the module, eagerly",
    "targets": (2.5, 2.8, 0.9, 0.9),
    "as_called": replace(_nets("of_torch:as_called", opener="optimization.pretrained"), threads=0),
    "one_thread": _nets("of_torch:one_thread", opener="optimization.pretrained"),
    "measure": "cosine",
    "bound": 1e-4,
}

LIST = (
    Family(
        name="lightgbm",
        message="LGBMClassifier.predict_proba",
        targets=(60, 20, 4, 9),
        as_called=CallSpec(call="of_lightgbm:as_called", threads=0),
        one_thread=CallSpec(call="of_lightgbm:one_thread"),
        peers={
            "SingleRowFast": CallSpec(call="of_lightgbm:single_row_fast"),
            "onnxruntime": _trees("of_onnxruntime:of_lightgbm"),
            **COMPILED,
            **NEWEST,
        },
        reads_frames=True,
        decide_target=1.5,
    ),
    Family(
        name="sparse",
        message="LGBMClassifier.predict_proba of a csr matrix of 5,000 columns",
        targets=(40, 0, 0, 0),
        as_called=CallSpec(call="of_lightgbm:as_called", threads=0),
        one_thread=CallSpec(call="of_lightgbm:one_thread"),
        peers={
            "Booster.predict": CallSpec(call="of_lightgbm:booster"),
            "SingleRowFast": CallSpec(call="of_lightgbm:sparse_single_row_fast"),
        },
        ours=CallSpec(call="of_headway:drop_in"),
        trained=sparse_model_of,
        data=sparse_directory,
        rows_file="test.joblib",
        least_rows=2_000,
    ),
    Family(
        name="xgboost",
        message="XGBClassifier.predict_proba",
        targets=(60, 10, 4, 10),
        as_called=CallSpec(call="of_xgboost:as_called", threads=0),
        one_thread=CallSpec(call="of_xgboost:one_thread"),
        peers={
            "inplace_predict": CallSpec(call="of_xgboost:inplace"),
            "onnxruntime": _trees("of_onnxruntime:of_xgboost"),
            **COMPILED,
            **NEWEST,
        },
        reads_frames=True,
        decide_target=1.5,
    ),
    Family(
        name="histgb",
        message="HistGradientBoostingClassifier.predict_proba",
        targets=(200, 30, 10, 25),
        as_called=AS_CALLED,
        one_thread=ONE_THREAD,
        peers={"onnxruntime": _trees("of_onnxruntime:of_sklearn"), **COMPILED, **NEWEST},
        reads_frames=True,
        decide_target=1.5,
    ),
    Family(
        name="forest",
        message="RandomForestClassifier.predict_proba, n_jobs=1",
        targets=(300, 9, 20, 7),
        as_called=ONE_THREAD,
        one_thread=ONE_THREAD,
        peers={
            "onnxruntime": _trees("of_onnxruntime:of_sklearn"),
            "treelite": _trees("of_treelite:gtil", float32=True),
            **NEWEST,
        },
        reads_frames=True,
        decide_target=1.5,
    ),
    *(
        Family(
            name=name,
            message=f"{'RandomForestClassifier' if trees else 'LGBMClassifier'}.predict_proba, {classes}",
            targets=(0, 0, 0, 0),
            as_called=ONE_THREAD if trees else CallSpec(call="of_lightgbm:as_called", threads=0),
            one_thread=ONE_THREAD if trees else CallSpec(call="of_lightgbm:one_thread"),
            peers={"treelite": _trees("of_treelite:gtil", float32=trees)},
            trained=class_model_of,
            data=class_directory,
            decide_target=1.1,
        )
        for name, trees, classes in (
            ("lightgbm_delay", False, "4 classes of delay"),
            ("lightgbm_carrier", False, "16 carriers"),
            ("forest_delay", True, "4 classes of delay"),
            ("forest_carrier", True, "16 carriers"),
        )
    ),
    Family(
        name="logistic",
        message="Pipeline.predict_proba of a pandas table",
        targets=(100, 25, 0.9, 0.9),
        as_called=AS_CALLED,
        one_thread=ONE_THREAD,
        peers={"onnxruntime": _trees("of_onnxruntime:of_pipeline")},
        ours=CallSpec(call="of_headway:pipeline"),
        transforms=("pipeline",),
        rows_file="test.joblib",
    ),
    Family(
        name="catboost_ctr",
        message="CatBoostClassifier.predict_proba of a pandas table with strings",
        targets=(20, 3, 3, 3),
        as_called=CallSpec(call="of_catboost:as_called", threads=0),
        one_thread=CallSpec(call="of_catboost:one_thread"),
        peers={
            "pylignum": CallSpec(call="of_pylignum:categories", home="pylignum"),
            "pylignum, lists": CallSpec(call="of_pylignum:categories", home="pylignum", options={"lists": True}),
        },
        ours=CallSpec(call="of_headway:categories"),
        trained=category_model_of,
        rows_file="test.joblib",
        bound=1e-15,
    ),
    Family(name="mlp", message="the module, eagerly", targets=(5, 4, 0.9, 0.9), bound=0.05, **NETS),
    Family(
        name="cnn",
        message="the module, eagerly",
        targets=(9, 10, 0.9, 0.9),
        measure="accuracy_loss",
        bound=0,
        least_rows=700,
        **NETS,
    ),
    Family(name="minilm.64", **MINILM),
    Family(name="minilm.128", **MINILM),
    Family(
        name="ocr",
        message="ONNX Runtime, as the package asks it",
        targets=(2.6, 4.8, 0.9, 0.9),
        measure="exact_match_loss",
        bound=0,
        **{
            **TAKEN,
            "as_called": replace(_nets("of_onnx_nets:as_called"), threads=0),
            "one_thread": _nets("of_onnx_nets:float32"),
            "peers": {name: peer for name, peer in NETS["peers"].items() if name != "onnxruntime"},
        },
    ),
)
FAMILIES = {family.name: family for family in LIST}
