"""`headway measure` and `headway plan` on a project with a search."""

from __future__ import annotations

import json
import shlex
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.house.pages import code_blocks
from tests.serving.running import loaded, serving

from headway import pipeline
from headway.cli.demo import run as demo
from headway.core.errors import DataError
from headway.core.evidence import Machine
from headway.core.plan import DeploymentPlan, NetworkTimes, ServiceTimes
from headway.core.record import write
from headway.evaluation import service_times
from headway.reporting.console import make_console
from headway.reporting.report_data import ReportData
from headway.reporting.sections.plan import plugin as plan_section
from headway.reporting.text.plan import manager_sentence, plan_lines, tabulate_plan

PRICES = """\
source = "invented"
currency = "EUR"
traffic_per_gb = 0.1
[instance.small]
per_hour = 0.1
availability = 0.9999
network = "wan"
[hardware.node]
price = 9000
life_years = 3
availability = 0.9999
"""
MACHINE = Machine(cpu="a core", cores=1, system="Linux", python="3.13")


@pytest.fixture(autouse=True)
def short_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate few requests: here a plan is made and shown, and its numbers are tested in `tests/deployment/plan`."""
    monkeypatch.setattr(pipeline, "PlanInputs", partial(pipeline.PlanInputs, replicates=8, requests=1_000))


@pytest.fixture
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept the times of a few requests."""
    monkeypatch.setattr(service_times, "MIN_TIMES", 10)
    monkeypatch.setattr(demo, "MEASURED_S", 0.5)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    file = tmp_path / "prices.toml"
    file.write_text(PRICES)
    return file


def measured(folder: Path, digest: str, location: str, mean_ms: float) -> Path:
    sample = np.random.default_rng(0).lognormal(0, 0.2, 200) * mean_ms * 1e3
    times = ServiceTimes(
        location=location,
        variant=digest,
        variant_name="winner",
        machine=MACHINE,
        times_us=tuple(sample.tolist()),
    )
    wan = NetworkTimes(name="wan", times_us=(5_000.0, 6_000.0) * 20, n_failed=0)
    file = folder / f"{location}.json"
    file.write_bytes(write(times) + b"\n" + write(wan) + b"\n")
    return file


def test_a_plan_without_measurements_is_not_judged_and_names_the_command(searched, prices, run):
    _, _, folder = searched
    code, out, _ = run("plan", prices, "--per-s", 5, "--project", folder, "--quick")
    assert code == 3
    assert "No location can be judged yet" in out
    assert "headway measure --location small" in out


def test_measurements_of_other_machines_are_loaded_and_the_cheapest_location_is_named(searched, prices, run, tmp_path):
    project, result, folder = searched
    digest = result.winner.variant.digest
    for location, ms in (("small", 2.0), ("node", 1.0)):
        code, out, _ = run("measure", "--load", measured(tmp_path, digest, location, ms), "--project", folder)
        assert code == 0
        assert f"winner at {location}: median" in out
        assert "network wan" in out
    code, out, _ = run("plan", prices, "--per-s", 5, "--project", folder)
    if result.winner.verdict.answer == "pass":
        assert code == 0
        assert "on small" in out
        assert "Prices: invented." in out
    code, out, _ = run("plan", prices, "--per-s", 5, "--project", folder, "--json", "--quick")
    assert {option["location"] for option in json.loads(out)["options"]} == {"small", "node"}
    saved = project.latest(DeploymentPlan)
    assert saved is not None
    assert len(saved.measurements) == 3
    assert len(tabulate_plan(saved).rows) == len(saved.options)
    assert manager_sentence(saved) in str(next(iter(plan_lines(saved))))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--per-s", "5", "--demand", "demand.toml"), "the demand is given twice"),
        (("--sites", "5", "--demand", "demand.toml"), "the demand is given twice"),
        (("--per-s", "-5"), "a rate is above 0"),
        (("--per-s", "nan"), "a rate is above 0"),
        (("--per-s", "inf"), "a rate is above 0"),
        (("--demand", "none.toml"), "none.toml cannot be read"),
        ((), "no request of the live release is logged"),
    ],
)
def test_a_demand_that_cannot_be_read_is_named(searched, prices, run, words, message):
    code, _, error = run("plan", prices, *words, "--project", searched[2])
    assert code == 2
    assert message in error


def test_a_demand_of_a_file_is_planned_for(searched, prices, run, tmp_path):
    (tmp_path / "demand.toml").write_text(f"per_s = 3\nhours = {[1] * 23 + [2]}\n")
    _, out, _ = run("plan", prices, "--demand", tmp_path / "demand.toml", "--project", searched[2], "--json", "--quick")
    assert max(json.loads(out)["demand"]["hours"]) == pytest.approx(1.92)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "x.json has other content than measurements"),
        (b'{"kind": "service_times", "version": 1, "record": {}}', "x.json has other content"),
    ],
)
def test_a_file_of_other_content_is_not_loaded(searched, run, tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    code, _, error = run("measure", "--load", tmp_path / "x.json", "--project", searched[2])
    assert code == 2
    assert message in error
    assert "x.json:1" in error
    code, _, error = run("measure", "--load", tmp_path / "none.json", "--project", searched[2])
    assert "cannot be read" in error


def test_a_network_needs_a_name(searched, run):
    code, _, error = run("measure", "--network", "http://127.0.0.1:1/", "--project", searched[2])
    assert code == 2
    assert "the network has no name" in error


def test_a_project_without_a_live_release_has_no_logged_demand(searched):
    with pytest.raises(DataError, match="no request of the live release"):
        pipeline.logged_demand(searched[0])


def test_the_chart_shows_cost_against_p99_and_names_what_has_no_point(searched, prices, run, tmp_path):
    _, result, folder = searched
    code, _, error = run(
        "plan", prices, "--per-s", 1e7, "--project", folder, "--quick", "--picture", tmp_path / "a.svg"
    )
    assert (code, "no option has a p99 to draw" in error) == (2, True)
    run("measure", "--load", measured(tmp_path, result.winner.variant.digest, "node", 1.0), "--project", folder)
    run("plan", prices, "--per-s", 5, "--project", folder, "--quick", "--picture", tmp_path / "b.svg")
    assert "p99 in the busiest hour" in (tmp_path / "b.svg").read_text()


@pytest.mark.slow
def test_the_commands_of_the_page_measure_export_load_and_plan(
    searched, run, short_measurements, tmp_path, monkeypatch
):
    folder = shutil.copytree(searched[2], tmp_path / "project")
    monkeypatch.chdir(folder)
    (folder / "prices.toml").write_text("".join(code_blocks("docs/how-to/plan.md", "toml")))
    commands = "".join(code_blocks("docs/how-to/plan.md", "sh"))
    with serving(loaded()) as server:
        for line in commands.replace("server.example:8080", f"localhost:{server.port}").splitlines():
            words = shlex.split(line)[1:]
            code, out, error = run(*words, *(["--time", "0.6s"] if "--export" in words else []))
            assert code == 0 or (words[0] == "plan" and code in (1, 3) and out), error
            assert "--export" not in words or "headway measure --load device.json" in out
    assert (folder / "device.json").read_bytes().count(b"\n") >= 1


def test_without_a_split_that_keeps_the_rules_no_settings_are_written(searched, prices, run, tmp_path):
    file = tmp_path / "answer.toml"
    code, _, error = run("plan", prices, "--per-s", 5, "--project", searched[2], "--quick", "--write-config", file)
    assert (code, "no split keeps the rules" in error, file.exists()) == (2, True, False)


@pytest.mark.slow
def test_the_demo_plans_with_the_times_of_this_machine(searched, short_measurements, capsys):
    project, result, folder = searched
    (folder / "prices.toml").write_bytes((demo.HERE / "prices.toml").read_bytes())
    data = pipeline.periods(project)
    plan = demo.plan_where_to_run(project, result, data, demo.StageReporter(make_console()))
    assert {option.location for option in plan.options} == {"cloud-small", "node", "device"}
    assert not {option.problem for option in plan.options} & {"not_measured", "network_not_measured"}
    assert "assumed as fast as this-machine" in plan.caveats[0]
    assert plan.caveats[0] in capsys.readouterr().out
    section = plan_section(ReportData(title="", plan=plan))
    assert section is not None
    assert section.title == "Edge or cloud?"
    assert section.picture() is not None
