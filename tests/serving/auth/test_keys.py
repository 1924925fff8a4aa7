"""API keys: creation, storage and revocation."""

from __future__ import annotations

import hashlib
import math
import threading
import tomllib
from pathlib import Path

import msgspec
import pytest

from headway.core import config
from headway.core.errors import ConfigError
from headway.serving.auth import keys
from headway.serving.auth.keys import create_key, keys_file, merge_keys, read_keys, revoke_key, throttle_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_only_the_digest_of_a_key_is_stored(file):
    key = create_key(file, "billing", ("predict", "label"), per_s=2.5, burst=7)
    stored = read_keys(file)["billing"]
    assert stored.sha256 == hashlib.sha256(key.encode()).hexdigest() and key not in file.read_text()
    assert (stored.scopes, stored.per_s, stored.burst, stored.revoked) == (("predict", "label"), 2.5, 7, "")


def test_a_key_may_be_for_some_models(file):
    create_key(file, "shop", ["predict"], models=["flights", "a.b-c_1"])
    create_key(file, "all", ["predict"])
    assert [key.models for key in read_keys(file).values()] == [("flights", "a.b-c_1"), ()]
    assert 'models = ["flights", "a.b-c_1"]' in file.read_text()


@pytest.mark.parametrize("model", ["", "a b", "a\nb", "-a", "x" * 65])
def test_a_model_must_have_the_name_of_one(file, model):
    with pytest.raises(ConfigError, match="cannot create the API key"):
        create_key(file, "shop", ["predict"], models=[model])


def test_a_key_has_256_bits_and_a_prefix(file):
    made = {create_key(file, f"k{number}", ["predict"]) for number in range(5)}
    assert len(made) == 5 and all(key.startswith("hw_") and len(key) == 46 for key in made)


def test_a_revoked_key_stays_in_the_file_with_its_time(file):
    for name in ("first", "second"):
        create_key(file, name, ["predict"], per_s=math.inf)
    at = revoke_key(file, "first").revoked
    assert at and revoke_key(file, "first").revoked == at
    assert [(name, key.revoked, key.per_s) for name, key in read_keys(file).items()] == [
        ("first", at, math.inf),
        ("second", "", math.inf),
    ]


def test_a_name_is_used_once_even_if_its_key_was_revoked(file):
    create_key(file, "billing", ["predict"])
    revoke_key(file, "billing")
    with pytest.raises(ConfigError, match="the API key 'billing' exists already"):
        create_key(file, "billing", ["predict"])


def test_revoking_an_unknown_key_lists_the_known_keys(file):
    with pytest.raises(ConfigError, match="no API key 'other'") as error:
        revoke_key(file, "other")
    assert error.value.where == "known: none"


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 65, 'a"'])
def test_an_invalid_name_is_rejected(file, name):
    with pytest.raises(ConfigError, match="invalid API key name"):
        create_key(file, name, ["predict"])
    assert not file.exists()


@pytest.mark.parametrize("limits", [{"per_s": -1.0}, {"burst": -1}])
def test_an_invalid_limit_is_rejected(file, limits):
    with pytest.raises(ConfigError, match="cannot create the API key"):
        create_key(file, "billing", ["predict"], **limits)


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[a]\nscopes = ['predict']\nmade = ''",
        "[a]\nsha256 = 'xyz'\nscopes = ['predict']\nmade = ''",
        f"[a]\nsha256 = '{'0' * 64}'\nscopes = ['everything']\nmade = ''",
        f"[a]\nsha256 = '{'0' * 64}'\nscopes = []\nmade = ''",
        f"['a b']\nsha256 = '{'0' * 64}'\nscopes = ['predict']\nmade = ''",
        "\n".join(f"[k{n}]\nsha256 = '{n:064x}'\nscopes = ['predict']\nmade = ''" for n in range(keys.MAX_KEYS + 1)),
    ],
    ids=["no toml", "no digest", "a digest that is none", "a scope that is none", "no scope", "a name", "too many"],
)
def test_an_invalid_key_file_is_an_error_that_names_it(file, text):
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_keys(file)
    assert error.value.where == str(file)


def test_the_number_of_keys_is_limited(file, monkeypatch):
    monkeypatch.setattr(keys, "MAX_KEYS", 1)
    create_key(file, "one", ["predict"])
    with pytest.raises(ConfigError, match="there are 1 API keys"):
        create_key(file, "two", ["predict"])


def test_keys_created_concurrently_are_all_stored(file):
    threads = [threading.Thread(target=create_key, args=(file, f"k{n}", ["predict"])) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join(10) for thread in threads]
    assert len(tomllib.loads(file.read_text())) == 8


def test_the_key_file_may_not_be_in_the_store(tmp_path):
    (tmp_path / "headway.toml").write_text('[serve]\nkeys = ".headway/keys.toml"\n')
    with pytest.raises(ConfigError, match="is in the store"):
        keys_file(config.load(tmp_path, environment={}))


def test_a_throttle_holds_until_it_is_ended_and_keeps_the_time(file):
    create_key(file, "eve", ["predict"], per_s=9.0)
    throttled = throttle_key(file, "eve", per_s=0.5)
    assert read_keys(file)["eve"] == throttled and (throttled.per_s, throttled.throttle_per_s) == (9.0, 0.5)
    ended = throttle_key(file, "eve", per_s=0.0)
    assert ended.throttle_per_s == 0 and ended.throttled_at >= throttled.throttled_at
    with pytest.raises(ConfigError, match="invalid rate -1 requests/s"):
        throttle_key(file, "eve", per_s=-1)
    with pytest.raises(ConfigError, match="no API key 'ann'"):
        throttle_key(file, "ann", per_s=1)


def test_of_two_machines_the_later_change_of_a_throttle_counts(file):
    create_key(file, "eve", ["predict"])
    key = read_keys(file)["eve"]
    earlier, later = (
        msgspec.structs.replace(key, throttle_per_s=rate, throttled_at=at) for rate, at in ((0.5, "1"), (0.0, "2"))
    )
    for one, other in ((earlier, later), (later, earlier), (key, later)):
        assert merge_keys({"eve": one}, {"eve": other})["eve"] == later
    other_key = msgspec.structs.replace(later, sha256="f" * 64)
    assert merge_keys({"eve": earlier}, {"eve": other_key})["eve"] == earlier
