"""Publishing and pointing: what is live, what is found, what is refused before anything is changed."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from msgspec.structs import replace as changed
from releases import BACK, FILES, passed, register, release

from headway.core.config import Config
from headway.core.errors import ConfigError, Refused, StoreError
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
from headway.core.settings.store import StoreSection
from headway.core.verdict import Verdict
from headway.registry.chain import load_last_seen
from headway.registry.model_registry import ModelRegistry, UpdateReason, now
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import create_publisher, load_publisher
from headway.storage.state.sqlite import Sqlite


def test_a_pointer_resolves_to_the_release_of_its_last_update(ours: ModelRegistry, two: tuple[str, str]) -> None:
    bundle = ours.resolve("flights@live")
    assert (bundle.digest, bundle.files) == (two[1], FILES)


def test_an_update_records_who_why_when_and_the_verdict(ours: ModelRegistry) -> None:
    digest = ours.publish(release(), FILES)
    move = ours.point("flights@live", digest, passed("ann", "faster"))
    assert move == PointerUpdate(
        name="flights",
        pointer="live",
        number=1,
        release=digest,
        previous="",
        at="2026-11-24T12:01:00.000+00:00",
        who="ann",
        why="faster",
        verdict=digest_of(write(release().verdict)),
        answer="pass",
    )
    assert ours.history() == (move,) == (ours.head("flights@live"),)


def test_each_update_names_the_one_before_it_over_all_pointers(ours: ModelRegistry, two: tuple[str, str]) -> None:
    ours.point("flights@canary", two[0], passed())
    updates = ours.state.updates()
    assert [move.previous for move in ours.history()] == ["", *(digest_of(update.content) for update in updates[:-1])]
    assert [move.number for move in ours.history()] == [1, 2, 1]


def test_history_selects_all_a_name_or_a_pointer(ours: ModelRegistry, two: tuple[str, str]) -> None:
    canary = ours.point("flights@canary", two[0], passed())
    hotels = ours.point("hotels@live", ours.publish(release("hotels"), FILES), passed())
    assert len(ours.history()) == 4
    assert ours.history("hotels") == (hotels,)
    assert ours.history("flights", "canary") == (canary,)


def test_live_at_returns_the_update_in_force_at_a_time(ours: ModelRegistry, two: tuple[str, str]) -> None:
    noon = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    at = [ours.live_at("flights@live", noon + timedelta(seconds=seconds)) for seconds in (0, 60, 119, 120, 99_999)]
    assert [move and move.release for move in at] == [None, two[0], two[0], two[1], two[1]]
    east = noon.astimezone(timezone(timedelta(hours=9))) + timedelta(seconds=60)
    assert ours.live_at("flights@live", east) == at[1]
    assert ours.live_at("flights@canary", noon + timedelta(days=1)) is None


def test_returning_to_an_earlier_release_needs_no_verdict(ours: ModelRegistry, two: tuple[str, str]) -> None:
    move = ours.point("flights@live", two[0], BACK)
    assert (move.verdict, move.answer, move.number) == ("", "", 3)
    assert ours.resolve("flights@live").digest == two[0]


def test_a_release_that_is_new_to_the_pointer_needs_a_verdict(ours: ModelRegistry, two: tuple[str, str]) -> None:
    third = ours.publish(release(made_at="July"), FILES)
    with pytest.raises(Refused, match=f"the pointer never had release {third}, and no verdict is given"):
        ours.point("flights@live", third, BACK)
    with pytest.raises(Refused, match="the pointer never had release"):
        ours.point("flights@canary", two[0], BACK)


@pytest.mark.parametrize("answer", ["fail", "undecided"])
def test_only_pass_moves_a_pointer(ours: ModelRegistry, two: tuple[str, str], answer: str) -> None:
    verdict = changed(release().verdict, answer=answer)
    assert isinstance(verdict, Verdict)
    with pytest.raises(Refused, match=f"the verdict is {answer}: only pass moves a pointer"):
        ours.point("flights@live", two[0], UpdateReason(who="ann", why="hurry", verdict=verdict))
    assert len(ours.history()) == 2


def test_publishing_again_changes_nothing(ours: ModelRegistry, two: tuple[str, str]) -> None:
    assert ours.publish(release(made_at="May"), FILES) == two[0]
    assert len(list((ours.folder / "flights").iterdir())) == 2


def test_a_release_folder_from_elsewhere_is_added_after_every_byte_is_verified(
    tmp_path: Path, ours: ModelRegistry, two: tuple[str, str]
) -> None:
    source = ours.folder / "flights" / two[0].removeprefix("sha256:")
    other = register(tmp_path, store="other")
    assert other.add(source).digest == other.add(source).digest == two[0]
    assert other.resolve(f"flights@{two[0]}").files == ours.resolve(f"flights@{two[0]}").files
    (source / "notes.txt").write_bytes(b"edited")
    with pytest.raises(Refused, match=r"notes\.txt was changed"):
        register(tmp_path, store="third").add(source)


def test_a_release_is_found_by_the_first_digits_of_its_digest(ours: ModelRegistry, two: tuple[str, str]) -> None:
    digits = two[0].removeprefix("sha256:")
    for selector in (digits[:8], digits, two[0]):
        assert ours.resolve(f"flights@{selector}").digest == two[0]


def test_an_unknown_digest_lists_the_known_ones(ours: ModelRegistry, two: tuple[str, str]) -> None:
    with pytest.raises(StoreError, match="0 releases of flights begin with 00000000") as caught:
        ours.resolve("flights@00000000")
    assert all(digest.removeprefix("sha256:")[:16] in caught.value.where for digest in two)
    with pytest.raises(StoreError, match=r"0 releases of hotels(.|\n)*known: none"):
        ours.resolve("hotels@00000000")


def test_an_unknown_pointer_lists_the_known_ones(ours: ModelRegistry) -> None:
    with pytest.raises(StoreError, match=r"no pointer flights@live(.|\n)*known: none"):
        ours.resolve("flights@live")
    ours.point("flights@live", ours.publish(release(), FILES), passed())
    with pytest.raises(StoreError, match=r"no pointer flights@canary(.|\n)*known: flights@live"):
        ours.resolve("flights@canary")
    assert ours.head("flights@canary") is None


@pytest.mark.parametrize(
    "address", ["flights", "@live", "flights@", "flights@Live", "../x@live", "a@b@c", "f@deadbeef"]
)
def test_an_invalid_pointer_name_is_rejected(ours: ModelRegistry, address: str) -> None:
    with pytest.raises(StoreError, match=f"'{address}' is not a pointer"):
        ours.point(address, "sha256:" + "0" * 64, passed())


def test_an_unsafe_release_name_is_rejected(ours: ModelRegistry) -> None:
    with pytest.raises(StoreError, match=r"'\.\./evil' .* are not the name and digest of a release"):
        ours.publish(release("../evil"), FILES)
    with pytest.raises(StoreError, match="'r' are not the name and digest of a release"):
        ours.point("flights@live", "r", passed())


def test_a_pointer_cannot_move_to_an_unpublished_release(ours: ModelRegistry) -> None:
    with pytest.raises(Refused, match="the release folder cannot be read"):
        ours.point("flights@live", "sha256:" + "0" * 64, passed())
    assert ours.history() == ()


def folder_of(ours: ModelRegistry, digest: str, name: str = "flights") -> Path:
    return ours.folder / name / digest.removeprefix("sha256:")


def test_a_changed_byte_of_the_live_release_is_rejected_by_file(ours: ModelRegistry, two: tuple[str, str]) -> None:
    (folder_of(ours, two[1]) / "model.echo").write_bytes(b"Echo")
    with pytest.raises(Refused, match=r"model.echo was changed"):
        ours.resolve("flights@live")


def test_a_signed_release_in_the_folder_of_another_is_rejected(ours: ModelRegistry, two: tuple[str, str]) -> None:
    shutil.rmtree(folder_of(ours, two[1]))
    shutil.copytree(folder_of(ours, two[0]), folder_of(ours, two[1]))
    with pytest.raises(Refused, match=f"the folder of flights {two[1]} holds flights {two[0]}"):
        ours.resolve("flights@live")


def test_a_signed_release_of_another_name_is_rejected(ours: ModelRegistry, two: tuple[str, str]) -> None:
    shutil.copytree(ours.folder / "flights", ours.folder / "hotels")
    with pytest.raises(Refused, match=f"the folder of hotels {two[1]} holds flights {two[1]}"):
        ours.resolve(f"hotels@{two[1]}")


def test_a_machine_without_trusted_keys_loads_nothing(ours: ModelRegistry, two: tuple[str, str]) -> None:
    ours.trusted_keys.unlink()
    with pytest.raises(Refused, match="which is not trusted"):
        ours.resolve("flights@live")


def test_after_a_key_leaked_a_new_key_signs_the_release_again(ours: ModelRegistry, two: tuple[str, str]) -> None:
    leaked = load_publisher(ours.publisher_key).key
    ours.publisher_key.unlink()
    ours.trusted_keys.write_text(f"{create_publisher(ours.publisher_key).key} ann again\n", encoding="utf-8")
    with pytest.raises(Refused, match=f"move 2 of the chain is signed by {re.escape(leaked)}, which is not trusted"):
        ours.resolve("flights@live")
    ours.point("flights@live", ours.publish(release(made_at="June"), FILES), BACK)
    assert ours.resolve("flights@live").digest == two[1]
    with pytest.raises(Refused, match=f"move 1 of the chain is signed by {re.escape(leaked)}, which is not trusted"):
        ours.history()


def test_the_registry_of_a_project_uses_its_state_and_its_keys(tmp_path: Path) -> None:
    made = ModelRegistry.from_config(Config(TrustSection(publisher_key="/keys/publisher.pem"), folder=str(tmp_path)))
    assert made.folder == tmp_path / ".headway" / "releases"
    assert (made.trusted_keys, made.publisher_key) == (tmp_path / "trusted_keys.txt", Path("/keys/publisher.pem"))
    assert made.history() == ()


@pytest.mark.parametrize("field", ["trusted_keys", "publisher_key", "last_seen"])
def test_keys_inside_the_store_are_rejected(tmp_path: Path, field: str) -> None:
    trust = TrustSection(**{field: ".headway/keys"})
    with pytest.raises(ConfigError, match=rf"\[trust\] {field} lies in the store"):
        ModelRegistry.from_config(Config(trust, folder=str(tmp_path)))


def test_what_was_seen_may_lie_in_the_folder_of_a_machine_whose_pointers_are_elsewhere(ours: ModelRegistry) -> None:
    folder = ours.trusted_keys.parent
    config = Config(
        StoreSection(state="postgresql://ann@db.example/headway"),
        TrustSection(last_seen=".headway/seen.json"),
        folder=str(folder),
    )
    with_pointers = ModelRegistry.from_config(config, state=ours.state)
    ours.point("flights@live", ours.publish(release(), FILES), passed())
    move = with_pointers.head("flights@live")
    assert move and load_last_seen(folder / ".headway/seen.json")["flights@live"].number == move.number
    older = ModelRegistry.from_config(config, state=Sqlite(folder / "older"))
    with pytest.raises(Refused, match="replayed pointer flights@live"):
        older.head("flights@live")


def test_the_clock_is_utc() -> None:
    assert now().tzinfo is UTC
