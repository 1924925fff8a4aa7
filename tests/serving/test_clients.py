"""Third-party clients and tools, unchanged, against a running server, each in its own environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from client_environments import Environment, environment
from running import MIXED, ask, loaded, serving
from tests.house.pages import code_blocks
from tests.house.source_tree import ROOT

from headway.core.variant import Field, Signature
from headway.serving.grpc.transport import open_grpc

KEY = "a-key"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@contextmanager
def models() -> Iterator[dict[str, str]]:
    """Serve two models over HTTP and gRPC with an operator's key; yields the variables for clients."""
    with serving(loaded(), loaded(name="mixed", signature=MIXED), key=KEY) as server:
        grpc_server = open_grpc(server.inside, "127.0.0.1", 0)
        yield {"HEADWAY_ADDRESS": server.address, "HEADWAY_GRPC": grpc_server.address, "HEADWAY_KEY": KEY}
        grpc_server.close(5)


def run_cases(made: Environment, variables: Mapping[str, str], *names: str) -> None:
    """Run files of cases with pytest in the environment, isolated from this repository."""
    cases = (str(ROOT / "tests/serving" / name) for name in names)
    words = ("--noconftest", "-c", os.devnull, "-p", "no:cacheprovider", *cases)
    made.run("python", "-m", "pytest", "-q", *words, **variables)


@pytest.mark.services
def test_tritons_client_works_unchanged():
    with environment("tritonclient[http,grpc]==2.73.0", "pytest") as made, models() as variables:
        run_cases(made, variables, "triton_cases.py", "triton_grpc_cases.py")
        run_the_page(made)


@contextmanager
def deliveries() -> Iterator[dict[str, str]]:
    """Serve the model of docs/serving.md over HTTP and gRPC, at the ports of the page."""
    depot = Field(name="depot", datatype="BYTES", categories=("north", "south"))
    others = (Field(name=name) for name in ("distance_km", "parcels", "rain_mm"))
    release = loaded(name="deliveries", signature=Signature(inputs=(Field(name="minute"), depot, *others)))
    with serving(release) as server:
        grpc_server = open_grpc(server.inside, "127.0.0.1", 0)
        yield {"8080": str(server.port), "8001": grpc_server.address.rpartition(":")[2]}
        grpc_server.close(5)


def run_the_page(made: Environment) -> None:
    """Run the client code of docs/serving.md, over HTTP and as it says over gRPC."""
    (over_http,) = code_blocks("docs/serving.md", "py")
    over_grpc = over_http.replace("tritonclient.http", "tritonclient.grpc").replace("8080", "8001")
    with deliveries() as ports:
        for text in (over_http, over_grpc):
            made.run("python", "-c", re.sub(r"80\d\d", lambda port: ports[port[0]], text))


@pytest.mark.services
def test_kserves_client_works_unchanged():
    with environment("kserve==0.21.0", "pytest") as made, models() as variables:
        run_cases(made, variables, "kserve_cases.py")


@pytest.mark.services
def test_the_openapi_document_is_valid_and_describes_every_response(tmp_path):
    with environment("schemathesis==4.32.5", "openapi-spec-validator==0.9.0") as made, serving(loaded()) as server:
        document = tmp_path / "openapi.json"
        document.write_bytes(ask(server, "/openapi.json").body)
        made.run("openapi-spec-validator", str(document))
        version = server.plane.find("flights").version
        settings = tmp_path / "schemathesis.toml"
        settings.write_text(f'[parameters]\nname = "flights"\nversion = "{version}"\n')
        words = ("--max-examples", "60", "--seed", "1", "--phases", "examples,coverage,fuzzing")
        address = f"{server.address}/openapi.json"
        made.run("st", "--config-file", str(settings), "run", address, *words, "--checks", ",".join(CHECKS))
