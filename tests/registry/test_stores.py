"""Stores that are checked, and copied to another address."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from releases import FILES, passed, register, release, tamper

from headway.core.config import Config
from headway.core.contracts import Signed
from headway.core.errors import ConfigError, Refused, StoreError
from headway.core.plugins import load_blobs
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.registry import stores
from headway.registry.model_registry import ModelRegistry
from headway.registry.settings.trust import TrustSection
from headway.registry.stores import ReleaseFolder, check_stores, migrate_store
from headway.storage.state.sqlite import Sqlite


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        ProjectSection(name="flights", state="store"),
        TrustSection(trusted_keys="trust/trusted_keys.txt"),
        folder=str(tmp_path),
    )


@pytest.fixture
def filled(ours: ModelRegistry, two: tuple[str, str], tmp_path: Path) -> ModelRegistry:
    """A store with two releases, two updates, three records, evaluations and a blob."""
    for content in (b"one", b"two"):
        ours.state.save("rollout", content, name="flights")
    ours.state.save("rollout", b"other", name="hotels")
    for _ in range(3):
        ours.state.count_evaluation("flights", "sha256:a")
    load_blobs("files")(tmp_path / "store/blobs").put(b"model")
    return ours


def test_a_store_that_can_do_everything_passes_each_check_and_keeps_its_pointers(
    config: Config, filled: ModelRegistry
) -> None:
    before = filled.state.updates()
    for _ in range(2):
        found = check_stores(config)
    assert {check.outcome for check in found} == {"passed"}
    assert [(check.role, check.check) for check in found][:3] == [
        ("state", "open"),
        ("state", "read your writes"),
        ("state", "compare and swap"),
    ]
    assert {check.address for check in found} == {str(config.state)}
    assert filled.state.updates() == before
    assert filled.state.records("store_check") == [stores.PROBE]


def test_after_a_check_that_failed_the_others_of_the_role_are_reported_as_not_run(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file where the folder belongs")
    found = check_stores(Config(ProjectSection(state="store"), folder=str(tmp_path)))
    state = [check for check in found if check.role == "state"]
    assert [check.outcome for check in state] == ["failed", "not run", "not run", "not run", "not run"]
    assert state[0].message and state[0].hint


class Forgetful(Sqlite):
    """A state that does nothing of what a state must do."""

    def append(self, signed: Signed) -> bool:
        return True

    def records(self, kind: str, *, name: str = "", digest: str = "") -> list[bytes]:
        return [] if type(self).forgets else super().records(kind, name=name, digest=digest)

    def lease(self, name: str) -> Any:
        return super().lease(f"{name} of {id(self)}")

    forgets = True


def _failures(config: Config) -> list[tuple[str, str]]:
    return [(check.check, check.message) for check in check_stores(config) if check.outcome == "failed"]


def test_a_state_that_loses_writes_accepts_any_update_or_shares_leases_is_found(
    config: Config, filled: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "open_state", lambda _: Forgetful(config.state))
    assert _failures(config) == [("read your writes", "a record that was saved cannot be read")]
    monkeypatch.setattr(Forgetful, "forgets", False)
    assert _failures(config) == [("compare and swap", "an update that follows no other was accepted")]
    monkeypatch.setattr(Forgetful, "append", Sqlite.append)
    assert _failures(config) == [("lease", "two processes hold the same lease")]


def test_all_of_a_store_is_copied_to_a_folder_where_it_verifies(
    config: Config, filled: ModelRegistry, tmp_path: Path
) -> None:
    source, target = str(tmp_path / "store"), str(tmp_path / "copy")
    messages: list[str] = []
    for _ in range(2):
        done = migrate_store(config, source, target, callback=messages.append)
        assert (done.updates, done.records, done.evaluations, done.blobs, done.releases) == (2, 3, 3, 1, 2)
    copy = register(tmp_path, store="copy")
    assert copy.history() == filled.history()
    assert copy.resolve("flights@live").files == filled.resolve("flights@live").files
    assert copy.state.records("rollout") == [b"one", b"two", b"other"]
    assert copy.state.test_evaluations("flights", "sha256:a") == 3
    copy.point("flights@live", copy.publish(release(made_at="July"), FILES), passed())
    assert "2 pointer updates" in messages


@pytest.mark.slow
def test_a_migration_that_was_interrupted_goes_on_where_it_ended(
    config: Config, filled: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = str(tmp_path / "store"), str(tmp_path / "copy")
    for step in ("append", "save", "count_evaluation"):
        for times in (1, 2):
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                _interrupt(patch, step, times)
                migrate_store(config, source, target)
        migrate_store(config, source, target)
        with closing(Sqlite(tmp_path / "copy")) as copy:
            assert copy.updates() == filled.state.updates()
            assert copy.all_evaluations() == filled.state.all_evaluations()
            assert [saved[1:] for saved in copy.all_records()] == [saved[1:] for saved in filled.state.all_records()]
        shutil.rmtree(tmp_path / "copy")


def _interrupt(patch: pytest.MonkeyPatch, step: str, times: int) -> None:
    """Interrupt the process in the n-th call of a method of the state."""
    method, calls = getattr(Sqlite, step), []

    def run(self: Sqlite, *args: Any, **settings: Any) -> Any:
        calls.append(step)
        if len(calls) == times:
            raise KeyboardInterrupt
        return method(self, *args, **settings)

    patch.setattr(Sqlite, step, run)


def test_a_target_with_other_updates_is_left_as_it_is(config: Config, filled: ModelRegistry, tmp_path: Path) -> None:
    other = register(tmp_path, store="other")
    other.point("hotels@live", other.publish(release("hotels"), FILES), passed())
    with pytest.raises(StoreError, match="the target holds other pointer updates"):
        migrate_store(config, str(tmp_path / "store"), str(tmp_path / "other"))
    assert len(other.state.updates()) == 1


def test_a_source_whose_chain_or_release_was_changed_is_not_copied(
    config: Config, filled: ModelRegistry, tmp_path: Path
) -> None:
    changed = next((tmp_path / "store/releases/flights").glob("*")) / "notes.txt"
    changed.write_bytes(b"as hoped")
    with pytest.raises(Refused, match=r"notes\.txt"):
        migrate_store(config, str(tmp_path / "store"), str(tmp_path / "copy"))
    tamper(filled, "UPDATE moves SET signature = ? WHERE number = 2", b"forged")
    with pytest.raises(Refused, match="move 2 of the chain"):
        migrate_store(config, str(tmp_path / "store"), str(tmp_path / "second"))
    with closing(Sqlite(tmp_path / "second")) as second:
        assert second.updates() == []


def test_a_record_that_another_process_added_to_the_target_is_found(
    config: Config, filled: ModelRegistry, tmp_path: Path
) -> None:
    with closing(Sqlite(tmp_path / "copy")) as copy:
        copy.save("rollout", b"of another", name="flights")
    with pytest.raises(StoreError, match="the target differs from the source"):
        migrate_store(config, str(tmp_path / "store"), str(tmp_path / "copy"))


@pytest.mark.slow
def test_many_records_and_blobs_are_counted_while_they_are_copied(
    config: Config, filled: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = load_blobs("files")(tmp_path / "store/blobs")
    for number in range(120):
        blobs.put(b"%d" % number)
    monkeypatch.setattr(stores, "REPORT_EVERY", 50)
    for number in range(60):
        filled.state.save("evidence", b"%d" % number, name="flights")
    messages: list[str] = []
    migrate_store(config, str(tmp_path / "store"), str(tmp_path / "copy"), callback=messages.append)
    assert "50 records" in messages and "100 blobs" in messages


def test_a_folder_without_a_store_and_addresses_without_a_plugin_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="this folder holds no store"):
        migrate_store(config, str(tmp_path / "nothing"), str(tmp_path / "copy"))
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "store").mkdir()
    Sqlite(tmp_path / "store").close()
    with pytest.raises(ConfigError, match="mysql"):
        migrate_store(config, str(tmp_path / "store"), "mysql://db.example/flights")
    with pytest.raises(ConfigError, match="holds a password"):
        migrate_store(config, str(tmp_path / "store"), "postgresql://ada:s3cret@db.example/flights")


def test_a_release_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert ReleaseFolder(tmp_path).load_release("flights", "sha256:" + "0" * 64) is None


TABLE = """
from pathlib import Path

from headway.storage.state.sqlite import Sqlite

ADDRESS = "table://FOLDER"


def plugin(address):
    return Sqlite(Path(address.removeprefix("table://")))
"""
SHARED = """
from pathlib import Path

from headway.registry.stores import ReleaseFolder
from headway.storage.blobs.files import Files

ADDRESS = "shared://FOLDER"


class plugin(Files):
    def __init__(self, address):
        folder = Path(address.removeprefix("shared://"))
        super().__init__(folder / "blobs")
        self._releases = ReleaseFolder(folder / "releases")

    def save_release(self, name, digest, contents):
        self._releases.save_release(name, digest, contents)

    def load_release(self, name, digest):
        return self._releases.load_release(name, digest)

    def releases(self, name):
        return self._releases.releases(name)
"""
BARE = """
from pathlib import Path

from headway.storage.blobs.files import Files

ADDRESS = "bare://FOLDER"


def plugin(address):
    return Files(Path(address.removeprefix("bare://")))
"""
HINT = """
from headway.core.errors import StoreUnavailable

ADDRESS = "hint://HOST"


class plugin:
    def __init__(self, address):
        self._is_away = address.endswith("away")

    def announce(self):
        if self._is_away:
            raise StoreUnavailable("the feed does not answer", role="feed")

    def close(self):
        pass
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins of another package: pointers and records, blobs with releases, blobs alone, and a feed."""
    folder = tmp_path / "outside"
    info = folder / "made_stores-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-stores\nVersion: 1\n")
    made = {("state", "table"): TABLE, ("blobs", "shared"): SHARED, ("blobs", "bare"): BARE, ("feed", "hint"): HINT}
    lines = []
    for (kind, name), text in made.items():
        (folder / f"made_{name}.py").write_text(text)
        lines.append(f"[headway.{kind}]\n{name} = made_{name}:plugin")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("scheme", ["table", "file"])
def test_each_address_takes_what_it_can_hold_and_gives_it_back(
    config: Config, filled: ModelRegistry, tmp_path: Path, scheme: str
) -> None:
    table, shared = f"{scheme}://{tmp_path}/table", f"shared://{tmp_path}/shared"
    (tmp_path / "table").mkdir()
    done = migrate_store(config, str(config.state), table)
    assert (done.updates, done.records, done.blobs, done.releases) == (2, 3, 0, 0)
    done = migrate_store(config, str(config.state), shared)
    assert (done.updates, done.records, done.blobs, done.releases) == (0, 0, 1, 2)
    assert migrate_store(config, shared, f"shared://{tmp_path}/again").releases == 2
    back = str(tmp_path / "back")
    assert migrate_store(config, table, back).updates == 2
    assert migrate_store(config, shared, back).releases == 2
    copy = register(tmp_path, store="back")
    assert copy.history() == filled.history()
    assert copy.resolve("flights@live").files == filled.resolve("flights@live").files


@pytest.mark.usefixtures("outside")
def test_addresses_that_have_nothing_in_common_are_refused(
    config: Config, filled: ModelRegistry, tmp_path: Path
) -> None:
    for target in (f"shared://{tmp_path}/shared", f"bare://{tmp_path}/bare"):
        with pytest.raises(ConfigError, match="nothing can be copied") as caught:
            migrate_store(config, f"table://{tmp_path}/store", target)
        assert caught.value.hint


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("scheme", "feed", "outcome"), [("table", "hint://here", "passed"), ("file", "hint://away", "failed")]
)
def test_each_address_of_a_project_is_checked(
    config: Config, tmp_path: Path, scheme: str, feed: str, outcome: str
) -> None:
    (tmp_path / "table").mkdir()
    store = StoreSection(state=f"{scheme}://{tmp_path}/table", blobs=f"shared://{tmp_path}/shared", feed=feed)
    found = {(check.role, check.check): check for check in check_stores(config.having(store))}
    assert found["feed", "announce"].outcome == outcome
    assert {check.outcome for (role, _), check in found.items() if role != "feed"} == {"passed"}
    assert found["state", "open"].address == store.state
    assert found["blobs", "open"].message == "conditional writes are honored"
