"""gRPC: the Open Inference Protocol's GRPCInferenceService, and the health service, for clients that speak no HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from typing import Any, TypeVar

import grpc
import msgspec

import headway
from headway.core.errors import ConfigError, DataError
from headway.serving.auth.authenticator import Authenticator
from headway.serving.door import ServerContext
from headway.serving.grpc._inference import GrpcInference, decode_request, encode_response
from headway.serving.grpc._messages import HEALTH, INFERENCE, parse_message
from headway.serving.http.routes import EXTENSIONS, find_model
from headway.serving.http.tls import TlsContext
from headway.serving.protocol.endpoints import ROUTES_BY_ENDPOINT
from headway.serving.protocol.errors import RequestError, error_message, request_error
from headway.serving.protocol.statistics import model_config, model_statistics
from headway.serving.repository import load_error

_SERVICE = "inference.GRPCInferenceService"
_THREADS = 64  # as many requests are in flight; a thread waits while the plane answers
_MOST_CALLS = 1024  # what is beyond these is RESOURCE_EXHAUSTED at once
_MOST_WORDS = 2_000  # of an error: they go in a header
_HEALTH, _SERVING, _NOT_SERVING = "grpc.health.v1.Health", 1, 2
_TYPES = {"TYPE_FP64": 12, "TYPE_STRING": 13}
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

Method = Callable[[Any, Any], Any]
T = TypeVar("T")


class GrpcServer:
    """A gRPC server on threads of its own, which hand infer requests to the plane's loop and wait.

    It must be opened after the last fork of its process: gRPC does not live through one.
    """

    def __init__(self, inside: ServerContext, host: str, port: int) -> None:
        """Raises ConfigError where the address cannot be had; port 0 takes a free one."""
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc")
        options = [("grpc.max_receive_message_length", inside.body_bytes), ("grpc.so_reuseport", 1)]
        self._server = grpc.server(self._pool, options=options, maximum_concurrent_rpcs=_MOST_CALLS)
        said = _Said(inside)
        self._server.add_generic_rpc_handlers(
            [_service(_SERVICE, said.inference, INFERENCE, inside), _service(_HEALTH, said.health, HEALTH, inside)]
        )
        place = f"[{host}]" if ":" in host else host
        try:
            bound = self._listen(f"{place}:{port}", inside.tls)
        except RuntimeError as error:
            self._pool.shutdown()
            where, hint = "[serve] host, grpc_port", "HEADWAY_SERVE_GRPC_PORT=0 takes a free port"
            raise ConfigError(f"cannot listen on {place}:{port}", where=where, hint=hint) from error
        self.address = f"grpc://{place}:{bound}"
        self._server.start()

    def _listen(self, address: str, tls: TlsContext | None) -> int:
        if tls is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, _credentials(tls)))

    def close(self, within_s: float) -> None:
        """Take no more calls, answer what is in flight, and end; what takes longer than `within_s` is cut off."""
        self._server.stop(within_s).wait()
        self._pool.shutdown()


plugin = GrpcServer


class _Said:
    """What each method of the services answers to its message; raises Unanswered, or DataError for a wrong message."""

    def __init__(self, inside: ServerContext) -> None:
        self._inside = inside
        self._plane = inside.plane
        # Each under the name of its messages, with what is asked there as in the table of addresses.
        self.health: dict[str, tuple[str, Method]] = {"HealthCheck": ("ready", self._check)}
        self.inference: dict[str, tuple[str, Method]] = {
            "ServerLive": ("live", lambda message, context: {"live": True}),
            "ServerReady": ("ready", lambda message, context: {"ready": not inside.draining()}),
            "ServerMetadata": ("server", self._server),
            "ModelReady": ("model ready", self._model_ready),
            "ModelMetadata": ("model", self._model),
            "ModelInfer": ("infer", self._infer),
            "ModelConfig": ("config", self._config),
            "ModelStatistics": ("stats", self._stats),
            "RepositoryIndex": ("index", self._index),
            "RepositoryModelLoad": ("load", self._load),
            "RepositoryModelUnload": ("unload", self._unload),
        }

    def _infer(self, message: Any, context: Any) -> Any:
        started_ns = time.perf_counter_ns()
        release = find_model(self._plane, message.model_name, message.model_version)
        request = decode_request(message)
        asked = release.reader.take(request)
        left_s = min(context.time_remaining(), TIMEOUT_MAX)
        deadline_ns = self._deadline_ns(started_ns, asked.timeout_us, left_s)
        call = GrpcInference(request, asked.rows, asked.key, started_ns, deadline_ns, SimpleQueue())
        self._inside.soon(self._plane.submit, release, call)
        done = _within(call.done, left_s)
        if isinstance(done, Exception):
            raise request_error(done)
        return encode_response(message, *done, len(asked.rows))

    def _deadline_ns(self, started_ns: int, timeout_us: int, left_s: float) -> int:
        """From when on nobody waits for a call: by its request, or by its caller's deadline; 0 for never."""
        hung_up_ns = started_ns + int(left_s * 1e9) if left_s < TIMEOUT_MAX else 0
        return min(filter(None, (self._plane.deadline_ns(started_ns, timeout_us), hung_up_ns)), default=0)

    def _check(self, message: Any, context: Any) -> Any:
        if message.service not in ("", _SERVICE):
            raise RequestError(404, f"no service '{message.service}'", hint=_SERVICE)
        return {"status": _NOT_SERVING if self._inside.draining() else _SERVING}

    def _server(self, message: Any, context: Any) -> Any:
        return {"name": "headway", "version": headway.__version__, "extensions": EXTENSIONS}

    def _model_ready(self, message: Any, context: Any) -> Any:
        find_model(self._plane, message.name, message.version)
        return {"ready": True}

    def _model(self, message: Any, context: Any) -> Any:
        said = msgspec.json.decode(find_model(self._plane, message.name, message.version).metadata)
        return {name: value for name, value in said.items() if name != "parameters"}

    def _config(self, message: Any, context: Any) -> Any:
        release = find_model(self._plane, message.name, message.version)
        said = msgspec.to_builtins(model_config(release, max_batch_rows=self._plane.max_batch_rows))
        for tensor in (*said["input"], *said["output"]):
            tensor["data_type"] = _TYPES[tensor["data_type"]]
        return {"config": said}

    def _stats(self, message: Any, context: Any) -> Any:
        plane = self._plane
        asked = [find_model(plane, message.name, message.version)] if message.name else list(plane.releases.values())
        counted = SimpleQueue[None]()
        self._inside.soon(counted.put, None)  # the loop counts a call right behind its answer
        _within(counted, min(context.time_remaining(), TIMEOUT_MAX))
        return {
            "model_stats": [
                msgspec.to_builtins(model_statistics(each, plane.metrics.total(each.name))) for each in asked
            ]
        }

    def _index(self, message: Any, context: Any) -> Any:
        return {"models": msgspec.to_builtins(self._inside.repository.index(ready=message.ready))}

    def _load(self, message: Any, context: Any) -> Any:
        return self._tell(message.model_name, load=True)

    def _unload(self, message: Any, context: Any) -> Any:
        return self._tell(message.model_name, load=False)

    def _tell(self, name: str, *, load: bool) -> Any:
        error = self._inside.repository.order(name, load=load).exception()
        if error is not None:
            raise load_error(error)
        return {}


def _within(queue: SimpleQueue[T], left_s: float) -> T:
    """What another thread puts there; raises Unanswered where it does not by the caller's deadline."""
    try:
        return queue.get(timeout=left_s)
    except Empty:
        raise RequestError(504, "there was no answer by the caller's deadline") from None


def _credentials(tls: TlsContext) -> Any:
    """The certificate as it is when a connection comes, and whether callers must show one of their own."""

    def now() -> Any:
        key, certificate, client_ca = tls.pem
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)

    return grpc.dynamic_ssl_server_credentials(now(), now, require_client_authentication=tls.pem[2] is not None)


def _service(
    name: str, said: dict[str, tuple[str, Method]], messages: dict[str, type[Any]], inside: ServerContext
) -> Any:
    """A service of these methods, each let in as the address of what it asks."""
    handlers = {}
    for method, (what, answer) in said.items():
        asked, given = messages[f"{method}Request"], messages[f"{method}Response"]
        call = _answering(_let_in(answer, asked, ROUTES_BY_ENDPOINT[what].scope, inside.authenticator), given, inside)
        handlers[method.removeprefix("Health")] = grpc.unary_unary_rpc_method_handler(call)
    return grpc.method_handlers_generic_handler(name, handlers)


def _let_in(answer: Method, asked: type[Any], scope: str, authenticator: Authenticator) -> Method:
    """The answer to bytes of a caller whose key, in the metadata `authorization`, is good for the scope."""

    def call(content: bytes, context: Any) -> Any:
        if scope:
            said = dict(context.invocation_metadata()).get("authorization", "")
            authenticator.authorize(said.encode(), scope)
        return answer(parse_message(asked, content), context)

    return call


def _answering(answer: Method, given: type[Any], inside: ServerContext) -> Callable[[bytes, Any], bytes]:
    """From bytes to bytes; an error ends the call with its code and words."""

    def call(content: bytes, context: Any) -> bytes:
        try:
            said = answer(content, context)
        except DataError as error:
            why = RequestError(400, error_message(error))
        except RequestError as error:
            why = error
        else:
            message: bytes = (given(**said) if isinstance(said, dict) else said).SerializeToString()
            return message
        inside.soon(inside.plane.metrics.fail, why.status)
        return bytes(context.abort(_CODES[why.status], error_message(why)[:_MOST_WORDS]))  # raises

    return call
