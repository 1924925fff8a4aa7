"""What `headway watch`, `history` and the schedule report of a certificate."""

from __future__ import annotations

import pytest
from tests.monitoring import audits, rollouts

from headway.cli.commands import history, watch
from headway.monitoring.task import load_task

pytestmark = pytest.mark.slow


@pytest.fixture
def broken(tmp_path):
    """A project whose live release gave wrong answers to messages that were drawn for the audit."""
    opened = rollouts.project(tmp_path, toml=f'{rollouts.TOML}\n[schedule]\nsource = "log"\n')
    keys = audits.log(opened, rollouts.live(opened, audits.answering()), [0] * 60)
    audits.label(opened, dict.fromkeys(keys, 1))
    yield opened
    opened.state.close()
    opened.registry.state.close()


def test_watch_withdraws_a_broken_certificate_and_history_shows_it(broken, tmp_path, capsys):
    watch.plugin(source="log", project=tmp_path)

    assert "the model answers nothing until a new release" in " ".join(capsys.readouterr().err.split())

    history.plugin(project=tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert "audit withdrew its certificate on" in shown
    assert "60 of 60 answers drawn for the audit were checked" in shown


def test_the_task_of_the_schedule_needs_a_person(broken):
    outcome, message = load_task("watch").run(broken)

    assert outcome == "attention"
    assert message.startswith("the certificate is broken")
