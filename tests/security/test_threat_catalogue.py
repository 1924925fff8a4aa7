"""The catalogue of requirements: ids, versions, and evidence that something can bring."""

from __future__ import annotations

import re
import shlex
from collections import Counter

import pytest
from tests.monitoring import rollouts

from headway.core import plugins
from headway.core.config import is_setting, sections
from headway.core.errors import ConfigError
from headway.core.threats import CATALOGUE_VERSION, Topic
from headway.reporting.text.threats import QUESTIONS
from headway.security.threats.catalogue import load_catalogue
from headway.security.threats.evidence import read_evidence

CATALOGUE = load_catalogue()
ID = re.compile(r"AML\.[TM]\d{4}(\.\d{3})?|ML(0[1-9]|10):2023|v1\.0-C\d{1,2}\.\d\.\d")
TO_COME = {"membership", "attributes", "inversion", "extraction", "evasion", "certificate"}


def test_the_version_of_the_file_is_that_of_the_records():
    assert CATALOGUE.version == CATALOGUE_VERSION


def test_ids_are_those_of_the_standards_and_stand_once():
    assert not [row.id for row in CATALOGUE.requirement if not ID.fullmatch(row.id)]
    assert max(Counter(row.id for row in CATALOGUE.requirement).values()) == 1
    assert {row.standard for row in CATALOGUE.requirement} == set(CATALOGUE.editions)


def test_all_ten_of_owasp_are_there():
    assert {f"ML{number:02}:2023" for number in range(1, 11)} <= {row.id for row in CATALOGUE.requirement}


def test_every_evidence_that_is_needed_is_declared_and_the_other_way_round():
    needed = {key for row in CATALOGUE.requirement for keys in row.alternatives for key in keys}
    assert needed == set(CATALOGUE.kinds)


def test_every_topic_has_a_question_and_a_requirement():
    topics = set(Topic.__args__)
    assert topics == set(QUESTIONS) == {row.topic for row in CATALOGUE.requirement}


def test_every_command_is_one_of_headway_and_its_setting_or_audit_exists():
    commands = {name.replace("_", "-") for name in plugins.own("command")} | {"scan"}
    for kind in CATALOGUE.evidence:
        program, command, *rest = shlex.split(kind.command)
        assert program == "headway"
        assert command in commands
        if "--why" in rest:
            setting = rest[rest.index("--why") + 1]
            assert setting in sections() or is_setting(*setting.split("."))
        assert not kind.audit or kind.audit in {*plugins.names("audit"), *TO_COME}


def test_every_fact_of_a_requirement_is_read_from_a_project(tmp_path):
    facts = read_evidence(rollouts.project(tmp_path), CATALOGUE).facts
    assert {name for row in CATALOGUE.requirement for name in row.applies} == set(facts)


def test_an_unknown_id_is_refused_with_the_nearest_ones():
    assert CATALOGUE.find("aml.t0015").id == "AML.T0015"
    with pytest.raises(ConfigError, match="no requirement 'T0043'") as refused:
        CATALOGUE.find("T0043")
    assert "AML.T0043.001" in refused.value.hint
    with pytest.raises(ConfigError) as refused:
        CATALOGUE.find("CWE-79")
    assert refused.value.hint == "headway threats --all lists them"
