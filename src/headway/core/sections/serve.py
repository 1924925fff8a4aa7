"""The section `[serve]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class ServeSection(Record, frozen=True, kw_only=True):
    """Inference server."""

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("TCP port of HTTP; 0: any free port.")] = 8080
    grpc_port: Annotated[int, about("TCP port of gRPC; 0: any free port, -1: no gRPC.")] = -1
    workers: Annotated[
        int,
        Meta(description="Worker processes; 0: one per core, or fewer under a CPU quota of the container.", ge=0),
    ] = 0
    max_body_bytes: Annotated[int, about("Maximum request body, bytes.")] = 8_388_608
    max_batch_rows: Annotated[int, Meta(description="Maximum rows of a batch (one engine call).", ge=1)] = 1024
    max_queue_rows: Annotated[
        int, Meta(description="Maximum rows in the queue; further requests get status 429.", ge=1)
    ] = 16_384
    long_ms: Annotated[float, about("Expected batch time above which a batch runs on a separate thread, ms.")] = 0.5
    timeout_s: Annotated[
        float, Meta(description="Time after which a waiting request gets status 504, seconds; 0: never.", ge=0)
    ] = 0.0
    contract: Annotated[
        str,
        Meta(
            description="Action on values that violate the contract: off, count, mark or reject.",
            pattern="^(off|count|mark|reject)$",
        ),
    ] = "count"
    round_digits: Annotated[int, Meta(description="Decimal places of outputs; -1: no rounding.", ge=-1)] = -1
    keys: Annotated[str, about("File of API keys, written by `headway api-keys`.")] = "keys.toml"
    key_per_s: Annotated[
        float, Meta(description="Rate limit of keys without their own, requests/s; 0: no limit.", ge=0)
    ] = 0.0
    key_burst: Annotated[
        int, Meta(description="Burst size of keys without their own, requests; 0: the requests of one second.", ge=0)
    ] = 0
    without_keys: Annotated[
        bool,
        Meta(
            description="Accept requests from other machines without API keys; use only behind an authenticating proxy."
        ),
    ] = False
    metrics_need_key: Annotated[bool, about("Require an API key with the scope `metrics` for /metrics.")] = False
    tls_certificate: Annotated[str, about("PEM file of the certificate chain; empty: no TLS.")] = ""
    tls_key: Annotated[str, about("PEM file of the private key; empty: in the certificate file.")] = ""
    tls_client_ca: Annotated[
        str, about("PEM file of the CAs for client certificates (mutual TLS); empty: none required.")
    ] = ""
    log_format: Annotated[
        str, Meta(description="Format of the log on stderr: text or json.", pattern="^(text|json)$")
    ] = "text"
    access_log: Annotated[float, Meta(description="Share of requests in the access log, in [0, 1].", ge=0, le=1)] = 0.0
    tracer: Annotated[str, about("Tracer: otel (OpenTelemetry); empty: no traces.")] = ""
    trace_to: Annotated[
        str, about("OTLP endpoint, such as http://127.0.0.1:4318; empty: from the OTEL_* environment variables.")
    ] = ""
    trace_share: Annotated[
        float, Meta(description="Sampling rate of requests without a traceparent header, in [0, 1].", ge=0, le=1)
    ] = 0.01
    log: Annotated[bool, about("Write answered requests to the prediction log.")] = True
    log_flush_s: Annotated[float, about("Maximum time that log rows stay in memory, seconds.")] = 0.5
    log_buffer_mb: Annotated[
        int, Meta(description="Log buffer of each worker, MB; rows beyond it are dropped and counted.", ge=1)
    ] = 16
