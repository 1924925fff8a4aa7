"""The families of bench/optimize.py: who is asked, in which environment, and what each row is to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optimization.datasets import place_of_rows
from optimization.models import model_of
from optimization.paired_timing import ROUNDS, Caller
from optimization.preparation import net_of, taken_of

KINDS = ("one_row", "batch256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A caller before its files are known: `file:function` of bench/callers, environment, threads (0: its own)."""

    call: str
    home: str = ""
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(self, name: str, model: Path, rows: Path) -> Caller:
        """The caller with its files."""
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
    """A model and those who ask it; targets are of one_row, batch256, peer_one_row and peer_batch256.

    `bound` is the most that `measure` may be: `max_change` of an answer from the library's, `accuracy_loss`, or for
    `cosine` what the least one lacks of 1. One_row is against the library `as_called`, batch256 against it on
    `one_thread`. `data` are the files of rows and labels, `opener` the module whose `opened` gives the model. A batch
    has `batch_rows`; the targets of what `needs_amx` hold where the CPU has it.
    """

    name: str
    message: str
    targets: tuple[float, float, float, float]
    as_called: Asked
    one_thread: Asked
    peers: Mapping[str, Asked]
    ours: Asked = Asked(call="of_headway:engine")
    transforms: tuple[str, ...] = ("trees",)
    measure: str = "max_change"
    bound: float = 1e-6
    least_rows: int = 20_000
    trained: Callable[[str], Path] = model_of
    data: Callable[[str], Path] = lambda _: place_of_rows()
    rows_file: str = "test.npy"
    opener: str = "optimization.models"
    batch_rows: int = 256
    rounds: int = ROUNDS
    needs_amx: bool = False

    @property
    def rows(self) -> Path:
        """The file of the rows that every caller is given."""
        return self.data(self.name) / self.rows_file

    @property
    def labels(self) -> Path:
        """The file of their labels."""
        return self.data(self.name) / "test-late.npy"

    @property
    def model(self) -> Path:
        """The folder of the model, trained if it is not there."""
        return self.trained(self.name)

    @property
    def order(self) -> dict[str, Any]:
        """What `searched` is told of it."""
        data = [str(self.rows), str(self.labels)]
        return {"name": self.name, "opener": self.opener, "model": str(self.model), "data": data}

    def callers(self) -> list[Caller]:
        """The library and its peers."""
        asked = {"as called": self.as_called, "one thread": self.one_thread, **self.peers}
        callers = [self.caller(each, name, self.model) for name, each in asked.items()]
        return [replace(each, judged=each.name != "as called") for each in callers]

    def caller(self, asked: Asked, name: str, model: Path) -> Caller:
        """A caller of these rows, in batches of this family's size."""
        return replace(asked.of(name, model, self.rows), batch_rows=self.batch_rows)


def _trees(call: str, **options: Any) -> Asked:
    return Asked(call=call, home="trees", options=options)


def _nets(call: str, **options: Any) -> Asked:
    return Asked(call=call, home="nets", options=options)


COMPILED = {"treelite": _trees("of_treelite:gtil"), "tl2cgen": _trees("of_treelite:compiled")}
ONE_THREAD = Asked(call="of_sklearn:predict_proba")
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
        targets=(60, 20, 2.5, 6),
        as_called=Asked(call="of_lightgbm:as_called", threads=0),
        one_thread=Asked(call="of_lightgbm:one_thread"),
        peers={
            "SingleRowFast": Asked(call="of_lightgbm:single_row_fast"),
            "onnxruntime": _trees("of_onnxruntime:of_lightgbm"),
            **COMPILED,
        },
    ),
    Family(
        name="xgboost",
        message="XGBClassifier.predict_proba",
        targets=(60, 10, 2.5, 8),
        as_called=Asked(call="of_xgboost:as_called", threads=0),
        one_thread=Asked(call="of_xgboost:one_thread"),
        peers={
            "inplace_predict": Asked(call="of_xgboost:inplace"),
            "onnxruntime": _trees("of_onnxruntime:of_xgboost"),
            **COMPILED,
        },
    ),
    Family(
        name="histgb",
        message="HistGradientBoostingClassifier.predict_proba",
        targets=(200, 30, 4, 25),
        as_called=AS_CALLED,
        one_thread=ONE_THREAD,
        peers={"onnxruntime": _trees("of_onnxruntime:of_sklearn"), **COMPILED},
    ),
    Family(
        name="forest",
        message="RandomForestClassifier.predict_proba, n_jobs=1",
        targets=(300, 9, 10, 7),
        as_called=ONE_THREAD,
        one_thread=ONE_THREAD,
        peers={
            "onnxruntime": _trees("of_onnxruntime:of_sklearn"),
            "treelite": _trees("of_treelite:gtil", float32=True),
        },
    ),
    Family(
        name="logistic",
        message="Pipeline.predict_proba of a pandas table",
        targets=(100, 25, 0.9, 0.9),
        as_called=AS_CALLED,
        one_thread=ONE_THREAD,
        peers={"onnxruntime": _trees("of_onnxruntime:of_pipeline")},
        ours=Asked(call="of_headway:pipeline"),
        transforms=("pipeline",),
        rows_file="test.joblib",
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
            "peers": {name: each for name, each in NETS["peers"].items() if name != "onnxruntime"},
        },
    ),
)
FAMILIES = {each.name: each for each in LIST}
