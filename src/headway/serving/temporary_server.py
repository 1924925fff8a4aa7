"""Serve a variant temporarily, for a load test: in a temporary registry, with the processes of `headway serve`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urlsplit

import msgspec
import numpy as np
from msgspec.structs import replace

from headway.core.categories import category_with_hash
from headway.core.config import Config
from headway.core.contracts import Blobs, Trial
from headway.core.errors import EngineError
from headway.core.release import Contract, Release, SelfTest
from headway.core.settings.project import ProjectSection
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.registry.model_registry import ModelRegistry
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import init_keys
from headway.serving.client import decode_output
from headway.serving.settings.serve import ServeSection
from headway.serving.settings.slo import SloSection

if TYPE_CHECKING:
    from headway.core.contracts import Floats

NAME, STOPS_WITHIN_S = "trial", 20
_SERVE = """
import json, sys
arguments = json.loads(sys.argv[1])
sys.path[:] = arguments["path"]
import msgspec
from headway.core.config import Config
from headway.serving import process
config = Config.from_plain(arguments["config"])
process.serve(config, [arguments["reference"]], announce=lambda listening: print(listening.addresses[0], flush=True))
"""


@contextmanager
def temporary_server(
    config: Config, blobs: Blobs, contract: Contract, self_test: SelfTest, variant: Variant
) -> Iterator[Trial]:
    """Serve a variant on loopback with a project's `[serve]`, but without API keys, TLS, gRPC, traces and access log.

    The variant is signed with a temporary key and checked against the contract and the self-test; it has no
    calibrator and no feature views. Raises EngineError with the last line of the server's output if it does not start.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
        settings = _settings(config, folder)
        unsigned = Release(
            name=NAME,
            variant=variant,
            evidence=(),
            verdict=Verdict(answer="undecided", subject=variant.digest, why="a temporary release for a load test"),
            contract=contract,
            self_test=self_test,
        )
        reference = _published(settings, unsigned, blobs)
        arguments = {"path": sys.path, "config": settings.plain(), "reference": reference}
        began = perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, msgspec.json.encode(arguments).decode()],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
        try:
            address = urlsplit(cast("IO[str]", process.stdout).readline().strip())
            if not address.port:
                process.wait(STOPS_WITHIN_S)
                output.seek(0)
                raise _start_error(output.read())
            yield Trial(
                host=str(address.hostname),
                port=address.port,
                process=process.pid,
                began_s=began,
                request=lambda rows: _request(variant.signature, rows),
                answers=lambda body: decode_output(body).ravel(),
            )
        finally:
            _end(process)


def _settings(config: Config, folder: str) -> Config:
    """Return the server settings of the project, with a separate store, keys and port."""
    settings = replace(
        config[ServeSection],
        host="127.0.0.1",
        port=0,
        grpc_port=-1,
        keys="keys.toml",
        tls_certificate="",
        tls_key="",
        tls_client_ca="",
        tracer="",
        access_log=ServeSection().access_log,
    )
    trust = TrustSection(publisher_key="keys/publisher.pem", trusted_keys="keys/trusted.txt")
    return Config(ProjectSection(name=NAME), trust, settings, config[SloSection], folder=folder)


def _published(config: Config, release: Release, blobs: Blobs) -> str:
    """Publish a release in the temporary registry; returns its reference."""
    init_keys(
        config.path(config[TrustSection].publisher_key), config.path(config[TrustSection].trusted_keys), comment=NAME
    )
    register = ModelRegistry.from_config(config)
    try:
        artifact = release.variant.artifact
        files = {f"model.{artifact.format}": blobs.get(artifact.digest)}
        return f"{NAME}@{register.publish(release, files)}"
    finally:
        register.state.close()


def _request(signature: Signature, rows: Floats) -> bytes:
    """Return an HTTP request for rows: an input per column, categories as strings, null for missing values."""
    inputs = [
        {"name": column.name, "shape": [len(rows)], "datatype": column.datatype, "data": _json_values(column, values)}
        for column, values in zip(signature.inputs, rows.T, strict=True)
    ]
    body = msgspec.json.encode({"inputs": inputs})
    head = f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _json_values(column: Field, values: Floats) -> list[float | str | None]:
    """Return a column's values for JSON; a code beyond the categories becomes a string that is none of them."""
    numbers: list[float | None] = [None if np.isnan(value) else value for value in values.tolist()]
    if column.is_text:
        return list(text_codes.texts(values))
    if column.datatype != "BYTES":
        return list(numbers)
    if column.unseen == "hashed":
        size = len(column.categories)
        return [
            None
            if value is None
            else column.categories[int(value)]
            if value < size
            else category_with_hash(int(value) - size)
            for value in numbers
        ]
    categories = (*column.categories, "\x00".join(("", *column.categories)))
    return [None if value is None else categories[int(value)] for value in numbers]


def _start_error(output: str) -> EngineError:
    lines = [line for line in output.splitlines() if line[:1].strip()] or ["no output"]
    return EngineError(f"the server of the variant did not start: {lines[-1]}", hint="headway doctor")


def _end(process: subprocess.Popen[str]) -> None:
    """Stop the server, and kill what does not stop."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOPS_WITHIN_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
