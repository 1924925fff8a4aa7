from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.contract.raising import install_raising

from headway.core import config as configuration
from headway.core.config import (
    Config,
    described,
    effective,
    file_and_line,
    load,
    masked,
    parse_age,
    resolve,
    section_of,
    sections,
    sources,
    variable,
)
from headway.core.errors import ConfigError, PluginError
from headway.core.renamed import RenamedWarning
from headway.core.settings.store import StoreSection
from headway.core.verdict import Rule
from headway.data.settings.data import DataSection
from headway.data.settings.model import Costs
from headway.data.settings.policy import PolicySection
from headway.evaluation.settings.answer import RemoteStage
from headway.monitoring.settings.alert import AlertSection
from headway.serving.settings.serve import ServeSection

EMPTY: Mapping[str, str] = {}
# Four ways to set serve.port, weakest first; each is a value that is set, or None.
ways = st.tuples(*[st.none() | st.integers(1, 65535)] * 3)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "headway.toml").write_text("", encoding="utf-8")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "headway.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
@given(ways)
def test_flag_wins_over_environment_over_file_over_default(
    tmp_path_factory: pytest.TempPathFactory, chosen: tuple[int | None, int | None, int | None]
) -> None:
    in_file, in_environment, in_flag = chosen
    folder = write(tmp_path_factory.mktemp("project"), f"[serve]\nport = {in_file}" if in_file else "")
    environment = {"HEADWAY_SERVE_PORT": str(in_environment)} if in_environment else {}
    flags = {"serve.port": str(in_flag)} if in_flag else {}
    config, origin = resolve(folder, environment=environment, flags=flags)
    assert config[ServeSection].port == (in_flag or in_environment or in_file or Config()[ServeSection].port)
    source = (in_flag and "flag") or (in_environment and "environment") or (in_file and "file") or None
    assert origin.get("serve.port") == source


@pytest.mark.slow
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_string_setting_takes_any_string_unchanged(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = write(tmp_path_factory.mktemp("project"), "")
    assert load(folder, environment={}, flags={"data.source": text})[DataSection].source == text


@pytest.mark.slow
@given(text=st.text())
def test_arbitrary_flags_raise_only_headway_errors(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = write(tmp_path_factory.mktemp("project"), "")
    try:
        assert isinstance(load(folder, environment={}, flags={"serve.port": text})[ServeSection].port, int)
    except ConfigError as error:
        assert "serve.port" in str(error)


@given(content=st.binary())
def test_arbitrary_file_contents_raise_only_headway_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("project")
    (folder / "headway.toml").write_bytes(content)
    try:
        load(folder, environment={})
    except ConfigError as error:
        assert "headway.toml" in str(error)


def test_an_empty_file_gives_the_defaults_and_its_folder(project: Path) -> None:
    assert load(project, environment={}) == Config(folder=str(project))


def test_a_missing_file_names_the_folder_searched_and_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no headway.toml here\n  at: {tmp_path}\n  try: .*--project FOLDER"):
        load(tmp_path, environment={})


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[data", 1, r"headway.toml is not TOML: Expected .* at '\[data', line 1"),
        (
            "[data]\nsource = a.csv",
            2,
            "Invalid value in the value of 'source', line 2, column 10\n.*\n  try: strings are",
        ),
        ("[data]\nslices = [1\n\n[serve]\nport = 1", 4, "Unclosed array|not TOML"),
        ("x = 1", 1, "key 'x' stands outside a section"),
        ("[data]\n\ntarge = 'late'", 3, "unknown setting 'data.targe'\n.*\n  try: nearest: data.target"),
        ("[dota]\ntarget = 'late'", 2, "unknown setting 'dota.target'\n.*\n  try: nearest: data.target"),
        ("[zzz]\nqqq = 1", 2, "unknown setting 'zzz.qqq'\n.*\n  try: headway config"),
        ("[data]\n[serve]\nport = 'high'", 3, "serve.port: expected `int`, got `str`"),
        ("[data]\nknown.y = 'outcome'\nknown.x = 1", 3, "data.known.x: expected `str`, got `int`"),
        ("[[policy.release]]\nat_most = 1", 1, r"policy.release\[0\]: .*missing required field `measure`"),
        (
            "[[policy.release]]\nmeasure = 'ece'\nat_most = 1\n[[policy.release]]\nmeasure = 'ece'\nat_mst = 1",
            6,
            r"policy.release\[1\]: .*unknown field `at_mst`\n.*\n  try: nearest: at_most",
        ),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_line_and_the_key(
    project: Path, text: str, line: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(write(project, text), environment={})
    assert caught.value.where == f"{project / 'headway.toml'}:{line}"


def test_a_project_that_is_not_a_folder_is_reported(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"no headway\.toml here"):
        load(project / "headway.toml", environment={})
    (project / "headway.toml").unlink()
    (project / "headway.toml").mkdir()
    with pytest.raises(ConfigError, match=r"headway\.toml cannot be read: Is a directory"):
        load(project, environment={})


@pytest.mark.parametrize(
    ("text", "message"),
    [("a = " + "[" * 5000, "nested too deeply"), ("[project]\na = " + "9" * 5000, "a number has too many digits")],
    ids=["depth", "digits"],
)
def test_a_file_that_python_cannot_read_is_named(project: Path, text: str, message: str) -> None:
    (project / "headway.toml").write_text(text)
    with pytest.raises(ConfigError, match=rf"headway\.toml cannot be read: .*{message}"):
        load(project, environment={})


def test_a_flag_that_python_cannot_read_is_a_text(project: Path) -> None:
    with pytest.raises(ConfigError):
        load(project, environment={}, flags={"retrain.seeds": "9" * 5000})


def test_a_file_that_is_not_text_is_named(project: Path) -> None:
    (project / "headway.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"headway\.toml is not UTF-8"):
        load(project, environment={})


def test_an_unknown_variable_of_a_known_section_is_an_error_that_names_it(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"at: environment serve\.prot\n  try: nearest: serve\.port"):
        load(project, environment={"HEADWAY_SERVE_PROT": "1"})


@pytest.mark.parametrize("name", ["HEADWAY", "HEADWAY_HOME", "HEADWAY_OTHER_THING", "PATH", "SERVE_PORT"])
def test_a_variable_of_no_section_is_not_a_setting(project: Path, name: str) -> None:
    assert load(project, environment={name: "1"}) == Config(folder=str(project))


def test_an_unknown_flag_is_an_error_that_names_it(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"at: flag serve\.prot"):
        load(project, environment={}, flags={"serve.prot": "1"})


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("data.slices", '["carrier", "origin"]', ("carrier", "origin")),
        ("data.known", '{ air_time = "outcome" }', {"air_time": "outcome"}),
        ("model.costs", "{ false_negative = 4 }", Costs(false_negative=4.0)),
        ("slo.p99_ms", "5", 5.0),
        ("data.target", "2013", "2013"),
        ("policy.release", '[{ measure = "ece", at_most = 0.05 }]', (Rule(measure="ece", at_most=0.05),)),
    ],
)
def test_a_flag_takes_the_words_that_the_file_takes(project: Path, setting: str, text: str, value: object) -> None:
    table, _, field = setting.partition(".")
    assert getattr(load(project, environment={}, flags={setting: text})[section_of(table)], field) == value


@pytest.mark.parametrize(
    ("environment", "flags", "where"),
    [({"HEADWAY_SERVE_PORT": "high"}, {}, "environment serve.port"), ({}, {"serve.port": "high"}, "flag serve.port")],
)
def test_a_value_of_the_wrong_type_names_its_source(
    project: Path, environment: dict[str, str], flags: dict[str, str], where: str
) -> None:
    with pytest.raises(ConfigError, match="expected `int`") as caught:
        load(project, environment=environment, flags=flags)
    assert caught.value.where == where


def test_all_sources_of_a_setting_are_listed_strongest_first(project: Path) -> None:
    write(project, "[serve]\nport = 1")
    found = sources("serve.port", project, environment={"HEADWAY_SERVE_PORT": "2"}, flags={"serve.port": "3"})
    assert list(found.items()) == [("flag", 3), ("environment", 2), ("file", 1), ("default", 8080)]
    assert sources("serve.host", project, environment={}) == {"default": "127.0.0.1"}


def test_an_unknown_setting_has_no_sources(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"nearest: serve\.port"):
        sources("serve.prot", project, environment={})


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("postgresql://ada:se:c@r/et@db/flights", "postgresql://ada:***@db/flights"),
        ("postgresql://:secret@db/flights", "postgresql://:***@db/flights"),
        ("postgresql://ada@db/flights?x=1&password=secret&y=2", "postgresql://ada@db/flights?x=1&password=***&y=2"),
        ("postgresql://ada@db:5432/flights", "postgresql://ada@db:5432/flights"),
        ("host=db password=secret user=ada", "host=db password=*** user=ada"),
        ("mine:load", "mine:load"),
    ],
)
def test_a_source_is_shown_without_its_password(source: str, shown: str) -> None:
    assert DataSection(source=source).name == shown


def test_rules_of_the_policy_are_read_in_order(project: Path) -> None:
    write(
        project,
        "[[policy.release]]\nmeasure = 'ece'\nat_most = 0.05\n[[policy.release]]\nmeasure = 'auc'\nat_least = 1",
    )
    rules = load(project, environment={})[PolicySection].release
    assert [str(rule) for rule in rules] == ["ece at most 0.05", "auc at least 1"]


def test_paths_start_where_the_file_lies_unless_they_are_absolute(project: Path) -> None:
    config = load(project, environment={})
    assert config.state == project / ".headway"
    assert config.path("/elsewhere/x") == Path("/elsewhere/x")
    assert config.path("~/x") == Path.home() / "x"


def test_a_former_name_of_a_measure_is_accepted_with_a_warning_that_names_the_new_one(tmp_path: Path) -> None:
    folder = write(tmp_path, '[[policy.release]]\nmeasure = "roc_auc.loss"\nat_most = 0.01')
    with pytest.warns(RenamedWarning, match=r"'roc_auc\.loss' was renamed to 'roc_auc\.drop'"):
        config = load(folder, environment=EMPTY)
    assert config[PolicySection].release == (Rule(measure="roc_auc.drop", at_most=0.01),)


def test_a_file_that_cannot_be_read_is_named_without_a_line(tmp_path: Path) -> None:
    assert file_and_line(tmp_path / "absent.toml", "policy.slice_rows") == str(tmp_path / "absent.toml")


def test_a_setting_without_fields_has_no_nearest_one() -> None:
    assert configuration._nearest_field("project.name", "nam") == ""


def test_the_former_switch_of_the_prediction_log_is_accepted_with_a_warning(tmp_path):
    (tmp_path / "headway.toml").write_text("[serve]\nlog = true\n")
    with pytest.warns(RenamedWarning) as caught:
        assert load(tmp_path, environment={})[ServeSection].log_mode == "all"
    assert any("'log' was renamed to 'log_mode'" in str(warning.message) for warning in caught)
    (tmp_path / "headway.toml").write_text("")
    with pytest.warns(RenamedWarning):
        assert load(tmp_path, environment={"HEADWAY_SERVE_LOG": "false"})[ServeSection].log_mode == "off"


@pytest.mark.parametrize(
    ("role", "address", "secret", "hint"),
    [
        ("state", "postgresql://ada:t0ps3cret@db.example/flights", "t0ps3cret", "PGPASSWORD"),
        ("state", "postgresql://ada@db.example/flights?password=t0ps3cret", "t0ps3cret", "~/.pgpass"),
        ("blobs", "s3://models/flights?secret_access_key=t0ps3cret", "t0ps3cret", "AWS_SECRET_ACCESS_KEY"),
        ("logs", "s3://key:t0ps3cret@models/flights", "t0ps3cret", "AWS_SECRET_ACCESS_KEY"),
        ("feed", "redis://:t0ps3cret@cache.example:6379/0", "t0ps3cret", "HEADWAY_STORE_FEED_PASSWORD_FILE"),
    ],
)
def test_the_address_of_a_store_with_a_password_is_refused_wherever_it_is_set(
    project: Path, role: str, address: str, secret: str, hint: str
) -> None:
    ways: dict[str, tuple[Mapping[str, str], dict[str, str]]] = {
        "headway.toml:2": (EMPTY, {}),
        f"environment store.{role}": ({f"HEADWAY_STORE_{role.upper()}": address}, {}),
        f"flag store.{role}": (EMPTY, {f"store.{role}": address}),
    }
    for where, (environment, flags) in ways.items():
        write(project, f'[store]\n{role} = "{address}"\n' if where.startswith("headway.toml") else "")
        with pytest.raises(ConfigError, match="holds a password") as caught:
            load(project, environment=environment, flags=flags)
        assert secret not in str(caught.value)
        assert caught.value.where.endswith(where)
        assert hint in caught.value.hint


def test_the_password_of_the_feed_is_not_a_setting(project: Path) -> None:
    environment = {"HEADWAY_STORE_FEED_PASSWORD": "s", "HEADWAY_STORE_FEED": "redis://cache.example:6379/0"}
    assert load(project, environment=environment)[StoreSection].feed == "redis://cache.example:6379/0"


def test_rules_of_alerts_are_tables_and_an_error_names_the_line_of_one(project: Path) -> None:
    write(
        project, '[[alert]]\nname = "ops"\nto = "webhook"\n[[alert]]\nname = "mail"\nto = "email"\nwhen = ["drift"]\n'
    )
    rules = load(project, environment=EMPTY)[AlertSection].rules
    assert [(rule.name, rule.when) for rule in rules] == [("ops", ()), ("mail", ("drift",))]
    write(
        project, '[[alert]]\nname = "ops"\nto = "webhook"\n[[alert]]\nname = "mail"\nto = "email"\nwhen = ["moved"]\n'
    )
    with pytest.raises(ConfigError, match=r"alert\[1\]\.when: no condition 'moved' is installed") as caught:
        load(project, environment=EMPTY)
    assert caught.value.where.endswith("headway.toml:7")
    write(project, '[[alert]]\nname = "ops"\nto = "webhook"\n[[alert]]\nname = "ops"\nto = "email"\n')
    with pytest.raises(ConfigError, match="two rules have the name 'ops'"):
        load(project, environment=EMPTY)


def test_secrets_of_receivers_are_not_settings(project: Path) -> None:
    environment = {"HEADWAY_ALERT_OPS_URL": "https://a", "HEADWAY_ALERT_ON_CALL_PASSWORD_FILE": "f"}
    assert load(project, environment=environment)[AlertSection].rules == ()
    rules = '[{ name = "ops", to = "webhook" }]'
    assert load(project, environment={"HEADWAY_ALERT_RULES": rules})[AlertSection].rules[0].to == "webhook"


def test_addresses_without_a_password_are_taken_as_they_are(project: Path) -> None:
    addresses = {"state": "postgresql://ada@[::1]:5432/f?sslmode=require", "logs": "s3://logs/a@b"}
    flags = {f"store.{role}": address for role, address in addresses.items()}
    store = load(project, environment=EMPTY, flags=flags)[StoreSection]
    assert (store.state, store.blobs, store.logs, store.feed) == (addresses["state"], "", addresses["logs"], "")


def test_what_is_shown_of_settings_has_no_password_and_no_path_of_a_webhook():
    shown = configuration.masked(
        {"a": ["redis://:x@b", 1], "rules": ({"url": "https://hooks.example/T0/x"},), "c": {"d": True}}
    )
    assert shown == {"a": ["redis://:***@b", 1], "rules": [{"url": "https://hooks.example/***"}], "c": {"d": True}}


def test_the_variable_of_a_setting_sets_it(project: Path) -> None:
    config, origin = resolve(project, environment={variable("serve.port"): "8123"}, flags={})
    assert (config[ServeSection].port, origin["serve.port"]) == (8123, "environment")


@pytest.mark.parametrize(
    ("text", "problem"), [("soon", "is not a duration"), ("9999999999d", "is too long a duration")]
)
def test_an_age_that_is_none_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_age(text)


def test_every_setting_is_listed_with_its_source_and_described(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_SERVE_PORT", "8123")
    settings = effective(project)
    assert settings["serve.port"] == (8123, "environment")
    assert settings["project.name"][1] == "default"
    assert all(described(setting) for setting in settings)


def test_passwords_and_the_paths_of_webhooks_are_masked_wherever_they_are() -> None:
    address, hook = "redis://:secret@cache.example", "https://hooks.example/T0/secret"
    shown = masked({"urls": [address, {"url": hook}], "port": 1})
    assert shown == {"urls": ["redis://:***@cache.example", {"url": "https://hooks.example/***"}], "port": 1}


def test_a_remote_stage_is_known_by_what_is_asked_and_another_headway_server_audits_its_own_answers():
    stage = RemoteStage(url="https://llm.example/v1", model="small")
    assert stage.identity == replace(stage, deadline_s=1.0).identity != replace(stage, model="large").identity
    assert replace(stage, protocol="headway").identity == RemoteStage(model="small").identity == ""


def test_settings_of_a_package_that_are_no_section_are_an_error_where_they_are_set(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_raising("settings", "odd", project, monkeypatch)
    (project / "headway.toml").write_text("[odd]\nnumber = 1\n")
    with pytest.raises(PluginError, match="'odd' is not a subclass of SettingsSection"):
        load(project, environment={})
    assert "odd" not in sections()
