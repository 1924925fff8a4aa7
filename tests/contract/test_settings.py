"""Every section of headway.toml, headway's own and of other packages, keeps what the configuration relies on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headway.core import config, plugins
from headway.core.config import Config
from headway.core.settings_section import SettingsSection

TABLES = plugins.names("settings")


@pytest.mark.parametrize("table", TABLES)
def test_a_section_has_the_name_of_its_plugin_and_defaults(table: str) -> None:
    section = config.section_of(table)
    assert issubclass(section, SettingsSection) and section.table == table
    assert Config()[section] == section()


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_says_what_it_is_for(table: str) -> None:
    for field in msgspec.structs.fields(config.section_of(table)):
        assert config.described(f"{table}.{field.name}").strip().endswith((".", ")"))


@pytest.mark.parametrize("table", TABLES)
def test_the_defaults_written_in_a_file_are_read_as_the_defaults(table: str, tmp_path: Path) -> None:
    section = config.section_of(table)
    plain = msgspec.to_builtins(section())
    assert msgspec.convert(plain, section, strict=False) == section()
    (tmp_path / config.FILE).write_text("")
    assert config.load(tmp_path, environment={})[section] == section()


@pytest.mark.parametrize("table", TABLES)
def test_what_a_section_exposes_is_named_by_its_own_settings(table: str) -> None:
    section = config.section_of(table)
    for setting, value in section().exposure(Config().path).items():
        assert setting.startswith(f"{table}.") and isinstance(value, str)
