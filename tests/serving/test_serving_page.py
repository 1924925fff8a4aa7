"""The examples of docs/protocol.md match the server."""

from __future__ import annotations

import json
import re

from running import TESTS, ask, loaded, serving
from tests.house.pages import code_blocks, read

from headway.core.variant import Field, Signature

PAGE = read("docs/protocol.md")
BODY, SHOWN = code_blocks("docs/protocol.md", "json")
FLIGHTS = Signature(
    inputs=(Field(name="distance"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA"))),
)


def test_the_request_of_the_page_is_answered_as_documented():
    (path,) = re.findall(r"`POST (\S+)` answers", PAGE)
    promised = json.loads(SHOWN)
    with serving(loaded(signature=FLIGHTS)) as server:
        response = ask(server, path, BODY.encode()).json
    assert response.keys() == promised.keys() and response["id"] == promised["id"]
    assert [{**output, "data": len(output["data"])} for output in response["outputs"]] == [
        {**output, "data": len(output["data"])} for output in promised["outputs"]
    ]


def test_the_page_lists_exactly_the_statuses_of_the_server():
    folder = TESTS.parent / "src/headway/serving"
    source = "\n".join(file.read_text() for file in sorted(folder.rglob("*.py")))
    documented = {int(status) for status in re.findall(r"\b([45]\d\d)\b(?=,| if)", source)}
    shown = {int(status) for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE) for status in row.split(", ")}
    assert documented == shown
