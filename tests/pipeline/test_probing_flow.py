"""`headway probing` on the log of a real server: the key that bisects columns is found, throttled, and let go."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline import projects, watched
from tests.serving.running import started

from headway import pipeline
from headway.cli import main as cli
from headway.core.monitoring import ProbingReport
from headway.registry.project import open_project
from headway.serving.auth.keys import create_key, keys_file, read_keys
from headway.serving.client import Client

pytestmark = pytest.mark.slow
COLUMNS = ("hour", "wind", "carrier")


def send(project, keys) -> None:
    """Send what a shop sends, and what a caller sends who bisects the numbers of a few rows."""
    rows = projects.table().select(*COLUMNS).to_dicts()[:300]
    process = started(Path(project.config.folder), f"{project.name}@live")
    address = process.stdout.readline().split()[2]
    with Client(address, api_key=keys["shop"]) as shop, Client(address, api_key=keys["eve"]) as eve:
        for row in rows:
            shop.infer(project.name, {name: [value] for name, value in row.items()}, key="order")
        for row in probes(rows[:12]):
            eve.infer(project.name, {name: [value] for name, value in row.items()})
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[1] == ""


def probes(bases):
    """Yield rows that bisect the two numbers of each base, from both ends of a range."""
    for base, name in itertools.product(bases, ("hour", "wind")):
        low, high = -100.0, 200.0
        yield from ({**base, name: low}, {**base, name: high})
        for _ in range(10):
            middle = (low + high) / 2
            yield {**base, name: middle}
            low, high = (low, middle) if middle > 7 else (middle, high)


def run(capsys, *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    out, err = capsys.readouterr()
    assert ended.value.code in (0, 1), err
    return ended.value.code, out


def test_a_key_that_bisects_is_found_throttled_and_not_again_after_a_person_ends_it(tmp_path, capsys):
    folder = watched.write(tmp_path)
    project = watched.released(folder)
    assert run(capsys, "probing", "--project", str(folder)) == (
        0,
        "no request with an API key was logged since the last report\n",
    )
    file = keys_file(project.config)
    send(project, {name: create_key(file, name, ["predict"]) for name in ("shop", "eve")})
    toml = (folder / "headway.toml").read_text()
    (folder / "headway.toml").write_text(toml.replace("[serve]", "[serve]\nthrottle_per_s = 0.5"))
    code, out = run(capsys, "probing", "--project", str(folder), "--json")
    report = json.loads(out)
    assert code == 1 and [(key["api_key"], key["is_found"], key["throttled"]) for key in report["keys"]] == [
        ("shop", False, False),
        ("eve", True, True),
    ]
    assert read_keys(file)["eve"].throttle_per_s == 0.5
    _, out = run(capsys, "probing", "--project", str(folder))
    assert "It is throttled; undo: headway api-keys unthrottle eve" in out
    run(capsys, "api-keys", "unthrottle", "eve", "--project", str(folder))
    code, out = run(capsys, "probing", "--project", str(folder))
    assert code == 1 and "headway api-keys throttle eve" in out
    assert read_keys(file)["eve"].throttle_per_s == 0
    assert project.latest(ProbingReport).found[0].sign == "bisection"
    assert np.isfinite(project.latest(ProbingReport).limit)


def test_a_project_without_a_release_has_no_report(tmp_path):
    assert pipeline.audit_probing(open_project(watched.write(tmp_path))) is None
