"""Records of a project, read in pages."""

from __future__ import annotations

from pathlib import Path

from headway.core.action import PersonAction
from headway.core.config import Config
from headway.core.record import digest_of, write
from headway.core.verdict import Verdict
from headway.registry.project import project_of


def action(number: int) -> PersonAction:
    return PersonAction(name="model", at=f"2026-11-28T12:00:{number:02}", who="ann", role="operator", action="rollback")


def test_records_of_a_class_are_read_in_pages_newest_first(tmp_path: Path) -> None:
    project = project_of(Config(folder=str(tmp_path)))
    actions = [action(number) for number in range(5)]
    for saved in actions:
        project.save(saved)
        project.save(Verdict(answer="pass", subject=saved.at))
    first = project.recent(PersonAction, limit=2)
    rest = project.recent(PersonAction, before=first[-1].position)
    assert [saved.record for saved in first + rest] == actions[::-1]
    assert first[0].digest == digest_of(write(actions[-1]))
    assert project.records(PersonAction, digest=first[0].digest) == [actions[-1]]
    assert (project.count(PersonAction), project.count(Verdict)) == (5, 5)
