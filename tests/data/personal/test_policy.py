from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.settings.project import ProjectSection
from headway.data.open import open_dataset
from headway.data.personal.policy import load_hash_key
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection

ROWS = {
    "late": [0, 1, 0, 1],
    "who": ["ada@example.org", "bob@example.org", "ada@example.org", None],
    "call": ["+44 20 7946 0958", "+44 20 7946 0959", "+44 20 7946 0960", "+44 20 7946 0961"],
    "note": ["none", "ask ada@example.org at 192.168.17.4", "none", "none"],
    "hour": [1, 2, 3, 4],
}


def config_of(folder: Path, **section: object) -> Config:
    pl.DataFrame(ROWS).write_parquet(folder / "t.parquet")
    data = section.pop("data", {})
    return Config(
        ProjectSection(state="state"),
        DataSection(**{"source": "t.parquet", "target": "late", **data}),
        PersonalSection(**{"key": "keys/personal.key", **section}),
        folder=str(folder),
    )


def test_a_dropped_column_is_removed_from_table_and_roles(tmp_path):
    data = {"slices": ("who",), "ignore": ("who", "call"), "known": {"who": "outcome"}, "sensitive_features": ("who",)}
    dataset = open_dataset(config_of(tmp_path, drop=("who",), data=data))

    assert "who" not in dataset.table.columns
    assert (dataset.roles.slices, dataset.roles.sensitive_features, dataset.roles.known) == ((), (), {})
    assert dataset.roles.ignore == ("call",)
    assert dataset.provenance["personal.who"] == "drop"


def test_a_hashed_column_can_be_joined_and_is_not_a_feature(tmp_path):
    dataset = open_dataset(config_of(tmp_path, hash=("who", "hour")))
    who = dataset.table["who"].to_list()

    assert who[0] == who[2] != who[1]
    assert (len(who[0]), who[3]) == (32, None)
    assert {"who", "hour"} <= dataset.roles.not_features


def test_a_hashed_column_can_be_the_groups(tmp_path):
    dataset = open_dataset(config_of(tmp_path, hash=("call",), data={"groups": "call"}))
    assert (dataset.roles.groups, dataset.roles.ignore) == ("call", ())


def test_a_kind_is_found_in_columns_and_removed_from_texts(tmp_path):
    dataset = open_dataset(config_of(tmp_path, drop=("email",), hash=("ip",), keep={"call": "it is ours"}))

    assert "who" not in dataset.table.columns
    note = dataset.table["note"][1]
    assert note.startswith("ask [email] at ")
    assert "192.168" not in note
    assert dataset.provenance["personal.note"] == "email in its texts: drop, ip in its texts: hash"


def test_the_hash_depends_on_the_key_that_only_its_owner_can_read(tmp_path):
    config = config_of(tmp_path, hash=("who",))
    first = open_dataset(config).table["who"][0]
    file = tmp_path / "keys/personal.key"

    assert open_dataset(config).table["who"][0] == first
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    assert open_dataset(config).table["who"][0] != first


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"drop": ("whom",)}, "'whom' is neither a column nor a kind.*\n.*\n  try: who in place of whom"),
        ({"drop": ("zzz",)}, "'zzz' is neither a column nor a kind.*\n.*\n  try: a column, or one of email"),
        ({"drop": ("who",), "hash": ("who",)}, "'who' is named twice"),
        ({"keep": {"who": " "}}, "the reason to keep 'who' is empty"),
        ({"drop": ("late",)}, "'late' is the target, which cannot be dropped or hashed"),
        ({"drop": ("who",), "data": {"groups": "who"}}, "'who' is the groups.*\n.*\n  try: hash"),
    ],
)
def test_an_invalid_policy_is_refused(tmp_path, section, message):
    with pytest.raises(ConfigError, match=message):
        open_dataset(config_of(tmp_path, **section))


def test_a_key_in_the_store_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="would be in the store"):
        load_hash_key(config_of(tmp_path, key="state/personal.key"))


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [(b"zz", 0o600, "not hexadecimal"), (b"00", 0o600, "shorter than 32"), (b"00" * 32, 0o644, "other users can read")],
)
def test_an_invalid_key_is_refused(tmp_path, content, mode, message):
    file = tmp_path / "a.key"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=message):
        load_hash_key(config_of(tmp_path, key="a.key"))


def test_an_unreadable_key_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no key for hashes"):
        load_hash_key(config_of(tmp_path, key="t.parquet/a.key"))
