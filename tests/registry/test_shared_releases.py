"""Releases on S3 that several machines share: fetched when they are needed, and verified like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from releases import FILES, passed, register, release
from tests.storage.small_s3 import SmallS3, Stored, small_s3

from headway.core.config import Config
from headway.core.errors import Refused, StoreError
from headway.core.settings.store import StoreSection
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import init_keys
from headway.storage.blobs.s3 import S3

ADDRESS = "s3://bucket/team"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def machine(folder: Path, name: str) -> ModelRegistry:
    """A registry with a folder of its own; state and keys are those of all machines."""
    own, first = register(folder, store=name), register(folder)
    return ModelRegistry(
        folder=own.folder,
        state=first.state,
        trusted_keys=own.trusted_keys,
        publisher_key=own.publisher_key,
        shared=S3(ADDRESS),
    )


@pytest.mark.slow
def test_a_release_of_one_machine_is_loaded_by_another(tmp_path: Path, small: SmallS3) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    digest = first.publish(release(), FILES)
    first.point("flights@live", digest, passed())
    assert second.resolve("flights@live").files == FILES
    requests = len(small.requests)
    assert second.resolve("flights@live").digest == digest
    assert len(small.requests) == requests, "what was fetched is not fetched again"
    assert machine(tmp_path, "third").resolve(f"flights@{digest[7:17]}").digest == digest
    with pytest.raises(StoreError, match="0 releases of flights begin with 00000000") as caught:
        second.resolve("flights@00000000")
    assert digest[7:23] in caught.value.where


@pytest.mark.slow
def test_a_release_that_was_not_shared_is_refused(tmp_path: Path, small: SmallS3) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        machine(tmp_path, "first").point("flights@live", "sha256:" + "a" * 64, passed())


@pytest.mark.slow
def test_a_release_that_was_signed_again_by_another_machine_is_fetched_again(tmp_path: Path, small: SmallS3) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    digest = first.publish(release(), FILES)
    second.resolve(f"flights@{digest[7:17]}")
    first.publisher_key.unlink()
    first.trusted_keys.unlink()
    init_keys(first.publisher_key, first.trusted_keys, comment="ann@new")
    with pytest.raises(Refused):
        second.resolve(f"flights@{digest[7:17]}")
    assert first.publish(release(), FILES) == digest
    assert second.resolve(f"flights@{digest[7:17]}").files == FILES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../outside", "/etc/x", "sub/model.onnx", ".hidden"])
def test_a_shared_release_cannot_write_outside_its_folder(tmp_path: Path, small: SmallS3, name: str) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    digest = first.publish(release(), FILES)
    listed = S3(ADDRESS).load_release("flights", digest) or {}
    S3(ADDRESS).save_release("flights", digest, {**listed, name: b"content"})
    with pytest.raises(Refused, match="cannot hold a file named"):
        second.resolve(f"flights@{digest[7:17]}")
    assert not second.folder.exists()


@pytest.mark.slow
def test_a_changed_byte_of_a_shared_release_is_refused(tmp_path: Path, small: SmallS3) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    digest = first.publish(release(), FILES)
    (model,) = [key for key, found in small.current().items() if found.content == b"echo"]
    small.objects[model] = [Stored(b"ecHo")]
    with pytest.raises(StoreError, match="was altered"):
        second.resolve(f"flights@{digest[7:17]}")
    S3(ADDRESS).save_release("flights", digest, {"model.echo": b"other"})
    with pytest.raises(Refused):
        second.resolve(f"flights@{digest[7:17]}")


@pytest.mark.slow
def test_the_registry_of_a_project_shares_releases_where_its_blobs_are(tmp_path: Path, small: SmallS3) -> None:
    config = Config(StoreSection(blobs=ADDRESS), folder=str(tmp_path))
    ours = ModelRegistry.from_config(config)
    assert isinstance(ours.shared, S3)
    assert ModelRegistry.from_config(Config(folder=str(tmp_path))).shared is None
    ours.state.close()
