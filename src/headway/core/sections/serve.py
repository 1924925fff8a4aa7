"""The section `[serve]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class ServeSection(Record, frozen=True, kw_only=True):
    """The server of releases."""

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("TCP port; 0 takes a free one.")] = 8080
    grpc_port: Annotated[int, about("TCP port of gRPC; 0 takes a free one, -1 disables gRPC.")] = -1
    workers: Annotated[
        int,
        Meta(description="Worker processes; 0 takes one per core, or fewer under a CPU quota of the container.", ge=0),
    ] = 0
    max_body_bytes: Annotated[int, about("Maximum request body, bytes.")] = 8_388_608
    max_batch_rows: Annotated[int, Meta(description="Maximum rows of one engine call.", ge=1)] = 1024
    max_queue_rows: Annotated[int, Meta(description="Maximum rows in the queue; further requests get 429.", ge=1)] = (
        16_384
    )
    long_ms: Annotated[float, about("A batch expected to take longer, in ms, runs on a thread.")] = 0.5
    timeout_s: Annotated[float, Meta(description="Seconds after which a waiting request gets 504; 0: never.", ge=0)] = (
        0.0
    )
    contract: Annotated[
        str,
        Meta(
            description="Action on a value outside the contract: off, count, mark or reject.",
            pattern="^(off|count|mark|reject)$",
        ),
    ] = "count"
    round_digits: Annotated[
        int, Meta(description="Decimals to which outputs are rounded; -1: no rounding.", ge=-1)
    ] = -1
    keys: Annotated[str, about("File of the API keys, written by `headway api-keys`.")] = "keys.toml"
    key_per_s: Annotated[float, Meta(description="Rate limit of keys without one, requests/s; 0: no limit.", ge=0)] = (
        0.0
    )
    key_burst: Annotated[int, Meta(description="Burst of such keys, requests; 0: those of one second.", ge=0)] = 0
    without_keys: Annotated[
        bool,
        Meta(description="Accept requests from other machines without API keys; only behind an authenticating proxy."),
    ] = False
    metrics_need_key: Annotated[bool, about("Require a key with the scope metrics for /metrics.")] = False
    tls_certificate: Annotated[str, about("PEM file of the certificate chain; empty: no TLS.")] = ""
    tls_key: Annotated[str, about("PEM file of its private key; empty: in the same file.")] = ""
    tls_client_ca: Annotated[
        str, about("PEM file of the CAs that must have signed client certificates; empty: none required.")
    ] = ""
    log_format: Annotated[
        str, Meta(description="Format of the log on stderr: text or json.", pattern="^(text|json)$")
    ] = "text"
    access_log: Annotated[float, Meta(description="Share of requests in the access log.", ge=0, le=1)] = 0.0
    tracer: Annotated[str, about("Tracer: otel; empty: no traces.")] = ""
    trace_to: Annotated[
        str, about("OTLP endpoint, such as http://127.0.0.1:4318; empty: from the OTEL_ variables.")
    ] = ""
    trace_share: Annotated[
        float, Meta(description="Share of requests traced, among those without a traceparent.", ge=0, le=1)
    ] = 0.01
    log: Annotated[bool, about("Write the rows of answered requests to the prediction log.")] = True
    log_flush_s: Annotated[float, about("Maximum time that rows of the log stay in memory, seconds.")] = 0.5
    log_buffer_mb: Annotated[
        int, Meta(description="Log buffer of each worker, MB; further rows are dropped and counted.", ge=1)
    ] = 16
