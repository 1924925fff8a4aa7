"""Inference server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.exposure import digest_of_file, reached_at
from headway.core.record import FormerValues, about
from headway.core.settings_section import SettingsSection


class ServeSection(SettingsSection, frozen=True, kw_only=True):
    """Inference server."""

    table: ClassVar[str] = "serve"

    former_names: ClassVar[Mapping[str, str]] = {"log": "log_mode"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {"log_mode": {"true": "all", "false": "off"}}

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("TCP port of HTTP; 0: any free port.")] = 8080
    grpc_port: Annotated[int, about("TCP port of gRPC; 0: any free port, -1: no gRPC.")] = -1
    workers: Annotated[
        int,
        Meta(
            description="Worker processes; 0: one per core, or fewer under a CPU or memory limit of the container.",
            ge=0,
        ),
    ] = 0
    shutdown_delay_s: Annotated[
        float,
        Meta(
            description="Time for which a stopping server still answers while it is not ready any more, seconds; under "
            "Kubernetes, longer than load balancers take to notice.",
            ge=0,
        ),
    ] = 0.0
    drain_s: Annotated[
        float,
        Meta(description="Time after which requests that a stopping server still answers are aborted, seconds.", ge=0),
    ] = 10.0
    max_body_bytes: Annotated[int, about("Maximum request body, bytes.")] = 8_388_608
    max_name_bytes: Annotated[
        int, Meta(description="Maximum length of a key, an id or a name in a request, bytes.", ge=1)
    ] = 256
    max_request_rows: Annotated[int, Meta(description="Maximum rows of a request.", ge=1)] = 65_536
    max_bodies_mb: Annotated[
        int,
        Meta(
            description="Maximum size of all bodies that a worker holds, MB; further large ones get status 503.", ge=1
        ),
    ] = 128
    max_connections: Annotated[
        int,
        Meta(
            description="Maximum open connections of a worker, over HTTP and over gRPC each; further ones get status "
            "503, and over gRPC are closed without being counted.",
            ge=1,
        ),
    ] = 4096
    max_batch_rows: Annotated[int, Meta(description="Maximum rows of a batch (one engine call).", ge=1)] = 1024
    max_queue_rows: Annotated[
        int, Meta(description="Maximum rows in the queue; further requests get status 429.", ge=1)
    ] = 16_384
    label_queue_mb: Annotated[
        int,
        Meta(description="Maximum size of requests whose labels wait to be written, MB; then status 429.", ge=1),
    ] = 16
    push_queue_mb: Annotated[
        int,
        Meta(
            description="Maximum size of requests whose rows of feature views wait to be stored, MB; then status 429. "
            "As much again for the logs of devices.",
            ge=1,
        ),
    ] = 16
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
    trusted_origins: Annotated[
        tuple[str, ...],
        about("Origins of web pages that may send writes, such as https://ml.example; pages of the server itself may."),
    ] = ()
    keys: Annotated[str, about("File of API keys, written by `headway api-keys`.")] = "keys.toml"
    key_per_s: Annotated[
        float, Meta(description="Rate limit of keys without their own, requests/s; 0: no limit.", ge=0)
    ] = 0.0
    key_burst: Annotated[
        int, Meta(description="Burst size of keys without their own, requests; 0: the requests of one second.", ge=0)
    ] = 0
    probing_false_alarms: Annotated[
        float,
        Meta(description="Chance that `headway probing` finds any honest key on a day, over all keys.", gt=0, lt=1),
    ] = 0.01
    throttle_per_s: Annotated[
        float,
        Meta(
            description="Rate to which a key that `headway probing` finds is throttled, requests/s; 0: none is.", ge=0
        ),
    ] = 0.0
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
    tls_profile: Annotated[
        str,
        Meta(
            description="TLS versions and ciphers, by Mozilla's profiles: modern (TLS 1.3), or intermediate (1.2 as "
            "well).",
            pattern="^(modern|intermediate)$",
        ),
    ] = "modern"
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
    log_mode: Annotated[
        str,
        Meta(
            description="Prediction log: all rows (requests wait while its buffer is full), sample (while it fills, a "
            "part of the requests is logged, with its rate) or off.",
            pattern="^(all|sample|off)$",
        ),
    ] = "all"
    log_wait_s: Annotated[
        float,
        Meta(
            description="Time for which requests wait for a log that cannot be written, seconds; after it they are "
            "answered without a log row, and the rows are counted as lost.",
            ge=0,
        ),
    ] = 5.0
    log_flush_s: Annotated[float, about("Maximum time that log rows stay in memory, seconds.")] = 0.5
    log_buffer_mb: Annotated[
        int, Meta(description="Log buffer of each worker, MB; while it is full, requests wait.", ge=1)
    ] = 16

    def exposure(self, path: Callable[[str], Path]) -> dict[str, str]:
        """Return what it opens or asks: addresses, and digests of files."""
        return {
            "serve.host": reached_at(self.host),
            "serve.grpc_port": "none" if self.grpc_port < 0 else "open",
            "serve.without_keys": "true" if self.without_keys else "",
            "serve.keys": digest_of_file(path(self.keys)),
            "serve.tls_certificate": "set" if self.tls_certificate else "",
            "serve.tls_client_ca": "set" if self.tls_client_ca else "",
        }


plugin = ServeSection
