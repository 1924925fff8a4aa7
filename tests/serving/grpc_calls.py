"""gRPC next to HTTP, for tests that compare the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from running import Running

from headway.serving.grpc._server import INFERENCE
from headway.serving.grpc.transport import ServerContext, open_grpc


@contextmanager
def grpc_client(
    server: Running, key: str = "", *, context: ServerContext | None = None
) -> Iterator[Callable[..., Any]]:
    """Open gRPC next to HTTP; yields a function that calls a method with the fields of its message."""
    grpc_server = open_grpc(context or server.inside, "127.0.0.1", 0)
    metadata = (("authorization", f"Bearer {key}"),) if key else ()

    def call(method: str, **fields: Any) -> Any:
        ask = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=INFERENCE[f"{method}Response"].FromString,
        )
        return ask(INFERENCE[f"{method}Request"](**fields), metadata=metadata, timeout=60)

    call.address = grpc_server.address.removeprefix("grpc://")
    with grpc.insecure_channel(call.address) as channel:
        yield call
    grpc_server.close(2)
