"""A release as a folder: what is refused, and that it says which file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from onnx import TensorProto, helper
from releases import FILES, release

from headway.core import record
from headway.core.errors import Refused, StoreError
from headway.core.feature_view import Feature, FeatureView, FunctionCall
from headway.core.record import digest_of, write
from headway.core.release import Release
from headway.core.variant import Artifact
from headway.registry.bundle import RELEASE, SEAL, Bundle, open_bundle, open_release, save_bundle, sign_release
from headway.registry.sign import Publisher, Trusted, create_publisher


def write_bundle(folder: Path, of: Release, files: Mapping[str, bytes], publisher: Publisher) -> str:
    """Sign a release and write its folder; return its digest."""
    signed = sign_release(of, files, publisher)
    save_bundle(folder, signed)
    return signed.digest


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return create_publisher(tmp_path_factory.mktemp("keys") / "publisher.pem")


@pytest.fixture(scope="module")
def trusted(ann: Publisher) -> Trusted:
    return Trusted(Path("trusted_keys.txt"), {ann.key: "ann"})


@pytest.fixture
def folder(ann: Publisher, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", release(), FILES, ann)
    return tmp_path / "bundle"


def test_a_written_release_opens_with_its_files_digest_and_key(
    ann: Publisher, trusted: Trusted, tmp_path: Path
) -> None:
    digest = write_bundle(tmp_path / "bundle", release(), FILES, ann)
    bundle = open_bundle(tmp_path / "bundle", trusted)
    assert (bundle.files, bundle.digest, bundle.key) == (FILES, digest, ann.key)
    assert bundle.release == replace(release(), files={name: digest_of(content) for name, content in FILES.items()})
    assert digest == digest_of((tmp_path / "bundle" / RELEASE).read_bytes())
    assert bundle.model == b"echo"


def test_a_release_without_its_model_is_neither_signed_nor_verified(
    ann: Publisher, trusted: Trusted, folder: Path
) -> None:
    without = {"notes.txt": b"no model"}
    with pytest.raises(Refused, match=f"no file of the release is its model {digest_of(b'echo')}"):
        sign_release(release(), without, ann)
    signed = ann.sign(write(replace(release(), files={name: digest_of(content) for name, content in without.items()})))
    rewrite(folder, {**without, RELEASE: signed.content, SEAL: signed.signature})
    with pytest.raises(Refused, match=f"no file of the release is its model {digest_of(b'echo')}"):
        open_bundle(folder, trusted)


def rewrite(folder: Path, contents: dict[str, bytes]) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def test_a_release_without_the_weights_of_its_model_is_neither_signed_nor_verified(
    ann: Publisher, trusted: Trusted, folder: Path
) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    content = helper.make_model(helper.make_graph([], "g", [], [], [weights])).SerializeToString()
    artifact = Artifact(format="onnx", digest=digest_of(content), size_bytes=len(content))
    made = replace(release(), variant=replace(release().variant, artifact=artifact, engine="onnxruntime"))
    files = {"model.onnx": content, "weights.bin": b"\0\0\0\0"}
    with pytest.raises(Refused, match=r"its weights in another file, which nothing signs: 'weights\.bin'"):
        sign_release(made, files, ann)
    signed = ann.sign(write(replace(made, files={name: digest_of(content) for name, content in files.items()})))
    rewrite(folder, {**files, RELEASE: signed.content, SEAL: signed.signature})
    with pytest.raises(Refused, match=r"its weights in another file, which nothing signs: 'weights\.bin'"):
        open_bundle(folder, trusted)


@pytest.fixture(scope="module")
def mutable(ann: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutable") / "bundle"
    write_bundle(folder, release(), FILES, ann)
    return folder


SAYS = {RELEASE: "release.json was changed", SEAL: "the signature of release.json was changed|is not trusted"}


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from([*FILES, RELEASE, SEAL]), offset=st.integers(0, 10_000), change=st.integers(1, 255))
def test_one_changed_byte_is_rejected_and_its_file_named(
    mutable: Path, trusted: Trusted, name: str, offset: int, change: int
) -> None:
    path = mutable / name
    content = path.read_bytes()
    changed = bytearray(content)
    changed[offset % len(content)] ^= change
    path.write_bytes(changed)
    try:
        with pytest.raises(Refused, match=SAYS.get(name, f"{name} was changed: expected sha256:")):
            open_bundle(mutable, trusted)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", [*FILES, RELEASE, SEAL])
def test_a_missing_file_is_named(folder: Path, trusted: Trusted, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(Refused, match=f"^{name} is missing"):
        open_bundle(folder, trusted)


def test_an_extra_file_is_named(folder: Path, trusted: Trusted) -> None:
    (folder / "sitecustomize.py").write_bytes(b"")
    with pytest.raises(Refused, match=r"'sitecustomize.py' is not a file of this release"):
        open_bundle(folder, trusted)


def test_an_extra_folder_is_named(folder: Path, trusted: Trusted) -> None:
    (folder / "more").mkdir()
    with pytest.raises(Refused, match="'more' is not a file of this release"):
        open_bundle(folder, trusted)


def test_an_extra_link_is_named(folder: Path, trusted: Trusted) -> None:
    (folder / "link").symlink_to(folder / "notes.txt")
    with pytest.raises(Refused, match="'link' is not a file of this release"):
        open_bundle(folder, trusted)


@pytest.mark.parametrize("name", ["model.echo", RELEASE, SEAL])
def test_a_link_in_place_of_a_file_is_rejected_although_its_bytes_are_right(
    folder: Path, trusted: Trusted, name: str
) -> None:
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    with pytest.raises(Refused, match=f"{name} is a link or a folder, not a file"):
        open_bundle(folder, trusted)


def test_a_pipe_in_place_of_a_file_is_rejected_without_waiting(folder: Path, trusted: Trusted) -> None:
    (folder / "notes.txt").unlink()
    os.mkfifo(folder / "notes.txt")
    with pytest.raises(Refused, match=r"notes.txt is a link or a folder, not a file"):
        open_bundle(folder, trusted)


def test_a_renamed_file_is_rejected(folder: Path, trusted: Trusted) -> None:
    (folder / "notes.txt").rename(folder / "Notes.txt")
    with pytest.raises(Refused, match=r"notes.txt is missing"):
        open_bundle(folder, trusted)


def test_two_swapped_files_are_rejected(folder: Path, trusted: Trusted) -> None:
    contents = {name: (folder / name).read_bytes() for name in FILES}
    (folder / "notes.txt").write_bytes(contents["model.echo"])
    (folder / "model.echo").write_bytes(contents["notes.txt"])
    with pytest.raises(Refused, match=r"(model.echo|notes.txt) was changed"):
        open_bundle(folder, trusted)


def test_the_signature_of_another_release_is_rejected(
    folder: Path, ann: Publisher, trusted: Trusted, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "other", release(made_at="later"), FILES, ann)
    shutil.copy(tmp_path / "other" / SEAL, folder / SEAL)
    with pytest.raises(Refused, match=r"release.json was changed after"):
        open_bundle(folder, trusted)


def test_an_unknown_key_is_named(folder: Path, ann: Publisher, tmp_path: Path) -> None:
    eve = create_publisher(tmp_path / "eve.pem")
    with pytest.raises(Refused) as caught:
        open_bundle(folder, Trusted(Path("t"), {eve.key: "eve"}))
    assert caught.value.what == f"release.json is signed by {ann.key}, which is not trusted"


def test_a_missing_folder_is_rejected(tmp_path: Path, trusted: Trusted) -> None:
    with pytest.raises(Refused, match="the release folder cannot be read: No such file"):
        open_bundle(tmp_path / "absent", trusted)


def test_a_file_deleted_while_it_is_read_is_rejected(
    folder: Path, trusted: Trusted, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Path.read_bytes

    def deletes_before_reading(path: Path) -> bytes:
        if path.name == "notes.txt":
            path.unlink()
        return reading(path)

    monkeypatch.setattr(Path, "read_bytes", deletes_before_reading)
    with pytest.raises(Refused, match=r"notes.txt cannot be read: No such file"):
        open_bundle(folder, trusted)


def test_each_file_is_read_once_so_that_the_verified_bytes_are_used(
    folder: Path, trusted: Trusted, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    reading = Path.read_bytes

    def changes_the_file_after_reading(path: Path) -> bytes:
        content = reading(path)
        path.write_bytes(b"changed after it was read")
        reads.append(path.name)
        return content

    monkeypatch.setattr(Path, "read_bytes", changes_the_file_after_reading)
    assert open_bundle(folder, trusted).files == FILES
    assert sorted(reads) == sorted([*FILES, RELEASE, SEAL])


UNSAFE = ["../evil", "/etc/passwd", "a/b", "a\\b", "..", ".", "", ".hidden", "a\0b", "ü", RELEASE, SEAL, "x" * 200]


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_name_is_not_signed(ann: Publisher, name: str) -> None:
    with pytest.raises(Refused, match="a release cannot hold a file named"):
        sign_release(release(), {name: b""}, ann)


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_name_is_not_read_although_a_trusted_key_signed_it(
    ann: Publisher, trusted: Trusted, tmp_path: Path, name: str
) -> None:
    signed = ann.sign(record.write(replace(release(), files={name: digest_of(b"")})))
    (tmp_path / RELEASE).write_bytes(signed.content)
    (tmp_path / SEAL).write_bytes(signed.signature)
    with pytest.raises(Refused, match="a release cannot hold a file named"):
        open_bundle(tmp_path, trusted)


def test_writing_the_same_release_again_changes_nothing(folder: Path, ann: Publisher, trusted: Trusted) -> None:
    before = (folder / RELEASE).stat()
    digest = write_bundle(folder, release(), FILES, ann)
    assert (folder / RELEASE).stat().st_ino == before.st_ino
    assert open_bundle(folder, trusted).digest == digest
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", [*FILES, SEAL])
def test_writing_the_same_release_again_repairs_an_altered_or_lost_file(
    folder: Path, ann: Publisher, trusted: Trusted, name: str
) -> None:
    for tamper in (lambda: (folder / name).write_bytes(b"altered"), (folder / name).unlink):
        tamper()
        write_bundle(folder, release(), FILES, ann)
        assert open_bundle(folder, trusted).files == FILES


def test_a_release_is_never_replaced(folder: Path, ann: Publisher, trusted: Trusted) -> None:
    with pytest.raises(StoreError, match="this folder holds something else"):
        write_bundle(folder, release(made_at="later"), FILES, ann)
    assert open_bundle(folder, trusted).release.made_at == "2026-11-24"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_without_a_release_is_not_replaced(tmp_path: Path, ann: Publisher) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary").write_bytes(b"")
    with pytest.raises(StoreError, match="this folder holds something else"):
        write_bundle(tmp_path / "mine", release(), FILES, ann)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path, ann: Publisher) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="cannot write the release"):
            save_bundle(folder, sign_release(release(), FILES, ann))
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(
    ("feature", "what"),
    [
        (Feature(name="a", expression=FunctionCall(function="system", arguments=())), "unknown function 'system'"),
        (Feature(name="a"), "'a' has no expression"),
    ],
)
def test_a_release_with_an_invalid_view_is_not_opened_although_a_trusted_key_signed_it(
    folder: Path, trusted: Trusted, feature: Feature, what: str
) -> None:
    bundle = open_bundle(folder, trusted)
    made = replace(bundle.release, views=(FeatureView(name="trip", features=(feature,)),))

    with pytest.raises(Refused) as caught:
        open_release(Bundle(made, bundle.files, bundle.digest, bundle.key))

    assert what in caught.value.what
