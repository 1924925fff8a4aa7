"""The lines on speed: each number with its interval and the call that it is against, or why there is none."""

from __future__ import annotations

from headway.core.evidence import AS_CALLED, Evidence, Finding, Machine, Measurement, TimedCall
from headway.evaluation.machine_load import BUSY
from headway.reporting.text.speeds import describe_speeds

ENGINE = TimedCall(engine="lightgbm", call="predict", input="array_row", rows=1, threads=1)
WAITED = Finding(code=BUSY, severity="undecided", message="other processes used the cores", hint="--wait-quiet")


def ratio(name: str, *, rounds: int = 40) -> Measurement:
    """Return a ratio; fewer than 20 rounds give no interval."""
    ends = (8.0, 9.0) if rounds >= 20 else (0.0, float("inf"))
    return Measurement(
        name=name,
        value=8.5,
        low=ends[0],
        high=ends[1],
        method="pairs",
        n_rows=rounds,
        n_groups=rounds,
        unit="x",
        se=0.1 if rounds >= 20 else None,
        bounds=(0.0, float("inf")),
        baseline=ENGINE,
    )


def evidence(*measurements: Measurement, busy: bool = False) -> Evidence:
    """Return evidence with these measurements, of a busy machine or not."""
    machine = Machine(cpu="none", cores=2, system="Linux", python="3.13")
    findings = (WAITED,) if busy else ()
    return Evidence(
        subject="s", dataset="d", period="test", machine=machine, measurements=measurements, findings=findings
    )


def test_a_ratio_without_an_interval_is_not_shown():
    [line] = describe_speeds([evidence(ratio(AS_CALLED, rounds=7))])
    assert line.startswith("as you call it: not shown, as 7 rounds give no interval") and "8.5" not in line


def test_a_call_that_was_not_timed_says_why_next_to_the_engines_that_were():
    lines = describe_speeds([evidence(ratio("latency.speedup"), ratio("cost.cpu_s.one_row.speedup"), busy=True)])
    assert lines[0].startswith("engine against engine, one row: x 8.5 [8.0, 9.0]")
    assert lines[1:3] == ["not timed as you call it: other processes used the cores", "to get one, --wait-quiet"]
    assert lines[3].startswith("CPU time, engine against engine, one row: x 8.5 [8.0, 9.0]") and len(lines) == 4


def test_a_quiet_machine_shows_the_ratio_of_cpu_time_of_one_row_as_well():
    cpu = ratio("cost.cpu_s.one_row.speedup"), ratio("cost.cpu_s.batch.speedup")
    lines = describe_speeds([evidence(ratio(AS_CALLED), *cpu)])
    assert [line.partition(": ")[0] for line in lines] == ["as you call it", "CPU time, engine against engine, one row"]


def test_where_nothing_was_timed_the_ratios_of_cpu_time_are_named_as_such():
    lines = describe_speeds([evidence(ratio("cost.cpu_s.one_row.speedup"), busy=True)])
    assert lines[0] == "no speedup: other processes used the cores"
    assert lines[-1].startswith("CPU time, engine against engine, one row: x 8.5 [8.0, 9.0]")
