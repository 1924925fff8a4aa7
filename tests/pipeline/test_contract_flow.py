"""A contract from discovery to a server that rejects values outside it, by commands alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from tests.pipeline.projects import write
from tests.pipeline.serve_command import served

from headway.cli import main as cli

pytestmark = pytest.mark.slow


def status_of(address: str, hour: int) -> int:
    """Return the HTTP status of a request for a flight at an hour."""
    columns = {"hour": [hour], "wind": [5.0], "carrier": ["AA"]}
    kinds = {"carrier": "BYTES"}
    inputs = [
        {"name": name, "shape": [1], "datatype": kinds.get(name, "FP64"), "data": data}
        for name, data in columns.items()
    ]
    request = urllib.request.Request(f"{address}/v2/models/small/infer", json.dumps({"inputs": inputs}).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def statuses(folder) -> list[int]:
    """Return the statuses of a server of the live release for the hours 5 and 15."""
    with served("small@live", "--project", str(folder), folder=folder) as line:
        address = next(word for word in line.split() if word.startswith("http"))
        return [status_of(address.rstrip(",."), hour) for hour in (5, 15)]


def test_an_edited_contract_changes_what_checks_find_and_what_the_server_refuses(run, tmp_path):
    folder = write(tmp_path)
    toml = folder / "headway.toml"
    toml.write_text(toml.read_text().replace("port = 0", 'port = 0\ncontract = "reject"'))
    assert run("contract", "discover", "--project", folder)[0] == cli.PASS
    file = folder / "contract.toml"
    file.write_text(file.read_text().replace("maximum = 62.7673", "maximum = 99"))
    assert run("contract", "--project", folder)[0] == cli.PASS
    run("optimize", "--project", folder)
    run("release", "--project", folder, "--who", "ada")
    assert statuses(folder) == [200, 200]

    file.write_text(file.read_text().replace("maximum = 26", "maximum = 12"))
    code, out, _ = run("check", "--project", folder)
    assert code == cli.FAIL and "'hour' is above 12" in out
    code, out, _ = run("contract", "check", folder / "table.parquet", "--project", folder, "--json")
    assert code == cli.FAIL and json.loads(out)["n_failing"] > 0
    run("release", "--project", folder, "--who", "ada")
    assert statuses(folder) == [200, 422]


def test_a_schema_becomes_the_contract_and_lists_what_was_not_imported(run, tmp_path):
    folder = write(tmp_path)
    fields = [{"name": "hour", "type": "integer", "constraints": {"maximum": 12}}, {"name": "at", "type": "any"}]
    (folder / "schema.json").write_text(json.dumps({"fields": fields}))
    code, out, _ = run("contract", "import", "schema.json", "--project", folder)
    assert code == cli.PASS and "1 columns" in out and "column 'at' is of type any" in out
    assert (
        "# not imported, a contract cannot express it: column 'at' is of type any"
        in (folder / "contract.toml").read_text()
    )
    assert run("contract", "--project", folder)[0] == cli.FAIL
    assert run("contract", "import", "schema.json", "--project", folder)[0] == cli.USAGE
