"""What docs/serving.md shows is what a server takes and gives."""

from __future__ import annotations

import json
import re

from running import TESTS, ask, loaded, serving

from headway.core.variant import Field, Signature

PAGE = (TESTS.parent / "docs/serving.md").read_text(encoding="utf-8")
FLIGHTS = Signature(
    inputs=(Field(name="distance"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA"))),
)


def test_the_request_of_the_page_is_answered_in_the_form_of_the_page():
    (path,) = re.findall(r"curl -s http://127.0.0.1:8080(\S+) -d @request.json", PAGE)
    body, shown = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    shown = json.loads(shown)
    with serving(loaded(signature=FLIGHTS)) as server:
        given = ask(server, path, body.encode()).json
    assert given.keys() == shown.keys() and given["id"] == shown["id"]
    assert [{**each, "data": len(each["data"])} for each in given["outputs"]] == [
        {**each, "data": len(each["data"])} for each in shown["outputs"]
    ]


def test_every_status_of_the_page_is_one_that_the_server_gives_and_the_other_way_round():
    source = "\n".join(file.read_text() for file in (TESTS.parent / "src/headway/serve").glob("*.py"))
    given = {int(status) for status in re.findall(r"\b([45]\d\d)\b(?=,| if)", source)}
    shown = {int(status) for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE) for status in row.split(", ")}
    assert given == shown
