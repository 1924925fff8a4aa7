from __future__ import annotations

from pathlib import Path

import pytest

from headway.core import plugins
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.settings.store import StoreSection
from headway.storage.addresses import is_in_store, known_addresses, open_blobs, open_state, plugin_of


def config(folder: Path, *, state: str = "", blobs: str = "") -> Config:
    return Config(StoreSection(state=state, blobs=blobs), folder=str(folder))


def test_stores_without_an_address_are_folders_of_the_project(tmp_path: Path) -> None:
    state, blobs = open_state(config(tmp_path)), open_blobs(config(tmp_path))
    state.save("verdict", b"pass", name="flights")
    digest = blobs.put(b"model")
    state.close()
    assert (tmp_path / ".headway/state.sqlite").is_file()
    assert (tmp_path / ".headway/blobs/sha256" / digest[7:9] / digest[9:]).read_bytes() == b"model"


@pytest.mark.parametrize("address", ["mysql://ada@db.example/flights", "sqlite:///x", "files://x", "./store", "s3:b"])
@pytest.mark.parametrize("role", ["state", "blobs"])
def test_an_address_that_no_plugin_opens_is_refused_with_the_known_forms(
    tmp_path: Path, role: str, address: str
) -> None:
    opener = {"state": open_state, "blobs": open_blobs}[role]
    with pytest.raises(ConfigError) as caught:
        opener(config(tmp_path, **{role: address}))
    assert caught.value.where == f"[store] {role}"
    assert all(form in caught.value.hint for form in known_addresses(role).values())
    assert "empty" in caught.value.hint
    assert not (tmp_path / ".headway").exists()


def test_an_address_with_a_password_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\*\*\*@db\.example") as caught:
        plugin_of("state", "postgresql://ada:t0psecret@db.example/flights", role="state")
    assert "t0psecret" not in str(caught.value)
    assert "PGPASSWORD" in caught.value.hint


MADE = 'ADDRESS = "made://NAME"\n\n\nclass plugin:\n    def __init__(self, address):\n        self.address = address\n'


@pytest.mark.parametrize("kind", ["state", "blobs"])
def test_an_address_opens_the_plugin_that_is_named_as_its_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "made_store.py").write_text(MADE)
    info = tmp_path / "made_store-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-store\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[headway.{kind}]\nmade = made_store:plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    opened = {"state": open_state, "blobs": open_blobs}[kind](config(tmp_path, **{kind: "made://shared"}))
    assert opened.address == "made://shared"
    with pytest.raises(ConfigError) as caught:
        plugin_of(kind, "other://x", role=kind)
    assert "made://NAME" in caught.value.hint
    assert plugins.declaration(kind, {"state": "sqlite", "blobs": "files"}[kind], "ADDRESS", "") == ""


@pytest.mark.parametrize("address", ["", "file:///{folder}/shared%20state"])
def test_a_file_in_a_folder_of_the_stores_is_found_there(tmp_path: Path, address: str) -> None:
    ours = config(tmp_path, state=address.format(folder=str(tmp_path).removeprefix("/")))
    (tmp_path / "link").symlink_to(tmp_path / "shared state")
    inside = [tmp_path / ".headway/keys.toml", *[tmp_path / "link/keys.toml"] * bool(address)]
    assert all(is_in_store(path, ours) for path in inside)
    assert not is_in_store(tmp_path / "keys.toml", ours)
