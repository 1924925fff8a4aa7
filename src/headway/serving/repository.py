"""Models of a server, for any transport: find, describe, load and unload them (Triton's repository extension).

A release is loaded as its pointer says and as it was signed: no file and no setting of a caller is used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from headway.core.errors import HeadwayError
from headway.core.release import VERSION_DIGITS
from headway.serving.batching.answers import ANSWER_OUTPUTS
from headway.serving.batching.data_plane import DataPlane
from headway.serving.loading import LoadedModel
from headway.serving.protocol.errors import RequestError, request_error
from headway.serving.protocol.schemas import (
    ConfigTensor,
    InferStatistics,
    ModelConfig,
    ModelIndexEntry,
    ModelStatistics,
    StatisticDuration,
)
from headway.serving.protocol.tensors import BYTES
from headway.serving.registry_watcher import RegistryWatcher
from headway.serving.telemetry.metrics import ModelCounters

_log = logging.getLogger(__name__)


def find_model(plane: DataPlane, name: str, version: str = "") -> LoadedModel:
    """Return the live model of a name, which must have this version if one is given; raises RequestError.

    The version may also be the first digits of the digest of the release, as it was in earlier answers.
    """
    model = plane.find(name)
    if model is None:
        raise _no_model(name, plane.models, limit=plane.max_name_bytes)
    if version and version not in (model.version, model.digest.removeprefix("sha256:")[:VERSION_DIGITS]):
        raise RequestError(404, f"model '{name}' has no version '{version}'", hint=f"its version is {model.version}")
    return model


def _no_model(name: str, known: Iterable[str], *, limit: int) -> RequestError:
    if len(name.encode("utf-8", "surrogatepass")) > limit:
        return RequestError(400, f"the name of the model has more than {limit} bytes")
    return RequestError(404, f"no model '{name}'", hint=f"available: {', '.join(known) or 'none'}")


class ModelRepository:
    """The models that a server was started with, by name; `addresses` gives the pointer of each.

    Loading runs on a thread; `soon` runs a function on the loop (`loop.call_soon_threadsafe`). `dispatch` loads or
    unloads the model at a pointer: in this process, unless a server of several processes replaces it.
    """

    def __init__(
        self,
        plane: DataPlane,
        watcher: RegistryWatcher,
        *,
        addresses: Mapping[str, str],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._plane = plane
        self._watcher = watcher
        self._addresses = addresses
        self.soon = soon
        self.dispatch = self.load_here
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="repository")

    def index(self, *, ready: bool) -> list[ModelIndexEntry]:
        """List the models with their state; `ready` leaves out those that are unloaded."""
        models = self._plane.models
        loaded = [ModelIndexEntry(name, model.version, "READY") for name, model in models.items()]
        if ready:
            return loaded
        unloaded = [name for name in self._addresses if name not in models]
        return loaded + [ModelIndexEntry(name, "", "UNAVAILABLE", "unloaded") for name in unloaded]

    def request(self, name: str, *, load: bool) -> Future[None]:
        """Start to load or unload a model for an operator; raises RequestError for an unknown model."""
        address = self._addresses.get(name)
        if address is None:
            raise _no_model(name, self._addresses, limit=self._plane.max_name_bytes)
        return self.dispatch(address, load)

    def load_here(self, address: str, load: bool) -> Future[None]:
        """Load or unload the model at a pointer in this process."""
        return self._pool.submit(self._load if load else self._unload, address)

    def close(self) -> None:
        """Finish the accepted requests, and end the thread."""
        self._pool.shutdown()

    def _load(self, address: str) -> None:
        model = self._watcher.load(address)
        _log.warning("an operator loaded %s: release %s", address, model.digest)

    def _unload(self, address: str) -> None:
        self._watcher.unload(address)
        name = next(name for name, pointer in self._addresses.items() if pointer == address)
        self.soon(lambda: self._plane.remove(name))
        _log.warning("an operator unloaded %s", address)


def load_error(error: BaseException) -> RequestError:
    """Convert the failure of a load to an error with a status: 503 or 422 with the reason, 500 for a defect."""
    if isinstance(error, HeadwayError):
        return request_error(error)
    _log.error("a model was not loaded", exc_info=error)
    return RequestError(500, "the model was not loaded; see the log of the server")


def model_config(model: LoadedModel, *, max_batch_rows: int) -> ModelConfig:
    """Return the configuration of a model in Triton's form: batches of rows, one value a row in each input."""
    signature = model.features.request
    return ModelConfig(
        name=model.name,
        platform="headway",
        backend="headway",
        max_batch_size=max_batch_rows,
        input=tuple(
            ConfigTensor(field.name, "TYPE_STRING" if field.datatype == BYTES else f"TYPE_{field.datatype}", (1,))
            for field in signature.inputs
        ),
        output=(
            ConfigTensor(signature.output, "TYPE_FP64", (-1,)),
            *(
                ConfigTensor(name, "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}", (1,))
                for name, datatype in (ANSWER_OUTPUTS if model.selective else ())
            ),
        ),
    )


def model_statistics(model: LoadedModel, counters: ModelCounters) -> ModelStatistics:
    """Return the statistics of a name, over all its releases.

    The queue time includes reading the body. perf_analyzer accepts only equal counts in all three phases.
    """
    n, none = counters.requests, StatisticDuration(0, 0)
    stats = InferStatistics(
        success=StatisticDuration(n, counters.latency_ns),
        fail=StatisticDuration(counters.failed, counters.failed_ns),
        queue=StatisticDuration(n, counters.queue_ns),
        compute_input=StatisticDuration(n, 0),
        compute_infer=StatisticDuration(n, counters.engine_ns),
        compute_output=StatisticDuration(n, counters.output_ns),
        cache_hit=none,
        cache_miss=none,
    )
    return ModelStatistics(
        name=model.name,
        version=model.version,
        last_inference=_unix_ms(counters.last_ns) if n else 0,
        inference_count=counters.rows,
        execution_count=counters.calls,
        inference_stats=stats,
    )


def _unix_ms(ended_ns: int) -> int:
    """Convert a time of `time.perf_counter_ns` to milliseconds since 1970."""
    return (time.time_ns() - (time.perf_counter_ns() - ended_ns)) // 1_000_000
