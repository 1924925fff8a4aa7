"""The section `[serve]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class ServeSection(Record, frozen=True, kw_only=True):
    """The server of releases."""

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("TCP port; 0 takes a free one.")] = 8080
    grpc_port: Annotated[int, about("TCP port of gRPC; 0 takes a free one, -1 is none.")] = -1
    workers: Annotated[
        int, Meta(description="Processes that answer; 0 takes one a core, or less by the container's CPU quota.", ge=0)
    ] = 0
    max_body_bytes: Annotated[int, about("Largest request body, bytes.")] = 8_388_608
    max_batch_rows: Annotated[int, Meta(description="Most rows of one engine call.", ge=1)] = 1024
    max_queue_rows: Annotated[int, Meta(description="Most rows that wait; beyond it is 429.", ge=1)] = 16_384
    long_ms: Annotated[float, about("A batch that by measure takes longer runs on a thread, and holds nothing up.")] = (
        0.5
    )
    timeout_s: Annotated[
        float, Meta(description="Seconds after which a request that still waits is answered 504; 0: never.", ge=0)
    ] = 0.0
    contract: Annotated[
        str,
        Meta(
            description="A value outside a release's contract: off, count, mark or reject it.",
            pattern="^(off|count|mark|reject)$",
        ),
    ] = "count"
    round_digits: Annotated[
        int, Meta(description="Digits behind the point to which answers are rounded; -1: as they are.", ge=-1)
    ] = -1
    keys: Annotated[str, about("File of the API keys that callers bring, as `headway api-keys` writes it.")] = (
        "keys.toml"
    )
    key_per_s: Annotated[
        float, Meta(description="Requests a second of a key that has no limit of its own; 0 sets none.", ge=0)
    ] = 0.0
    key_burst: Annotated[
        int, Meta(description="Requests that such a key may send at once; 0 takes those of a second.", ge=0)
    ] = 0
    without_keys: Annotated[
        bool,
        Meta(
            description="Whether anybody may ask from beyond this machine while no key is made: behind a proxy alone."
        ),
    ] = False
    metrics_need_key: Annotated[bool, about("Whether /metrics wants a key with the scope metrics.")] = False
    tls_certificate: Annotated[str, about("PEM file of the certificate and those above it; empty: no TLS.")] = ""
    tls_key: Annotated[str, about("PEM file of its private key; empty: it is in the same file.")] = ""
    tls_client_ca: Annotated[
        str, about("PEM file of whom callers' own certificates must be signed by; empty: none is asked for.")
    ] = ""
    log_format: Annotated[
        str, Meta(description="What the server says of itself on stderr: text, or json.", pattern="^(text|json)$")
    ] = "text"
    access_log: Annotated[
        float, Meta(description="Share of the requests of which a line says how they were answered.", ge=0, le=1)
    ] = 0.0
    tracer: Annotated[str, about("Plug-in that sends traces: otel; empty: none are made.")] = ""
    trace_to: Annotated[str, about("Its receiver, such as http://127.0.0.1:4318; empty: as OTEL_ says.")] = ""
    trace_share: Annotated[
        float, Meta(description="Share of the requests traced, of those that bring no traceparent.", ge=0, le=1)
    ] = 0.01
    log: Annotated[bool, about("Whether every answered request leaves rows in the prediction log.")] = True
    log_flush_s: Annotated[float, about("Longest time that a row of the log waits in memory, seconds.")] = 0.5
    log_buffer_mb: Annotated[
        int, Meta(description="Memory of the log of each worker, MB; what is beyond is dropped and counted.", ge=1)
    ] = 16
