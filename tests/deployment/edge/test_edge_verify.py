"""The program that verifies a package without Python: it accepts what the publisher signed, and names what differs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.deployment.edge.packages import forest_release
from tests.engines.made_forests import Shape, made, rows_for

from headway.core.record import canonical, digest_of
from headway.deployment.edge import package_files, write_package
from headway.registry.sign import Publisher, create_publisher

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def publisher(tmp_path_factory) -> Publisher:
    """The key that signs the package."""
    return create_publisher(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.fixture(scope="module")
def original(tmp_path_factory, publisher) -> Path:
    """A signed package with the program that its Makefile builds."""
    folder = tmp_path_factory.mktemp("edge")
    forest = made(Shape(trees=3), seed=1)
    bundle = forest_release(forest, rows_for(forest, 8))
    write_package(bundle, package_files(bundle), folder=folder / "package", publisher=publisher)
    subprocess.run(
        [
            "make",
            "-s",
            "-C",
            folder / "package",
            "verify",
            "CFLAGS=-O1 -Wall -Wextra -Werror -fsanitize=address,undefined",
        ],
        check=True,
    )
    return folder / "package"


@pytest.fixture
def package(tmp_path, original) -> Path:
    """A copy of the package that a test changes."""
    return shutil.copytree(original, tmp_path / "package")


def verify(package: Path, trusted: str) -> tuple[int, str]:
    """Run the program with these trusted keys; return exit code and message."""
    keys = package.parent / "keys"
    keys.write_text(trusted, encoding="utf-8")
    done = subprocess.run([package / "verify", package, keys], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_package_of_a_trusted_key_is_verified(package, publisher):
    for trusted in (f"{publisher.key} ann\n", f"# keys\n\n  {publisher.key}", f"{publisher.key}#\n"):
        code, message = verify(package, trusted)
        assert code == 0 and publisher.key in message and "6 files" in message


def test_an_untrusted_key_is_refused(package, publisher):
    for trusted in ("", f"# {publisher.key}\n", f"{publisher.key}0\n", publisher.key[:-1]):
        code, message = verify(package, trusted)
        assert code == 1 and "not trusted" in message


@pytest.mark.parametrize("name", ["flights.c", "flights.h", "flights_cli.c", "flights_http.c", "verify.c", "Makefile"])
def test_a_changed_missing_or_linked_file_is_named(package, publisher, name):
    content = (package / name).read_bytes()
    (package / name).write_bytes(content[:-1] + b"x")
    assert verify(package, publisher.key) == (
        1,
        f"{package}: {name} is missing, or was changed after the package was signed\n",
    )
    (package / name).unlink()
    (package / "moved").write_bytes(content)
    (package / name).symlink_to(package / "moved")
    assert verify(package, publisher.key)[0] == 1


def test_every_changed_byte_and_every_shorter_list_is_refused(package, publisher):
    for name in ("edge.json", "edge.sig"):
        content = (package / name).read_bytes()
        for index in range(0, len(content), 7):
            for changed in (content[:index], content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]):
                (package / name).write_bytes(changed)
                assert verify(package, publisher.key)[0] == 1
        (package / name).write_bytes(content + b" ")
        assert verify(package, publisher.key)[0] == 1
        (package / name).write_bytes(content)


def test_files_in_a_folder_of_the_package_are_verified(package, publisher):
    wheel = "wheels/a_b-1.0+c-cp313-cp313-manylinux_2_28_x86_64.whl"
    record = {"files": {wheel: digest_of(b"content")}, "headway": "1", "name": "flights", "release": "r"}
    signed = publisher.sign(canonical({"kind": "edge_package", "version": 1, "record": record}))
    (package / "edge.json").write_bytes(signed.content)
    (package / "edge.sig").write_bytes(signed.signature)
    (package / "wheels").mkdir()
    (package / wheel).write_bytes(b"content")
    assert verify(package, publisher.key)[0] == 0
    (package / wheel).write_bytes(b"changed")
    assert (
        verify(package, publisher.key)[1]
        == f"{package}: {wheel} is missing, or was changed after the package was signed\n"
    )
    (package / wheel).write_bytes(b"content")
    (package / "wheels").rename(package / "moved")
    (package / "wheels").symlink_to(package / "moved")
    assert verify(package, publisher.key)[0] == 1


@pytest.mark.parametrize(
    "name", ["../key", ".hidden", "", 'a"b', "/key", "a/", "a/../key", "a/.hidden", "a//b", "a/b/c", "./a", "a b"]
)
def test_a_signed_list_with_a_path_is_refused(package, publisher, name):
    record = {"files": {name: "sha256:" + 64 * "0"}, "headway": "1", "name": "flights", "release": "r"}
    signed = publisher.sign(canonical({"kind": "edge_package", "version": 1, "record": record}))
    (package / "edge.json").write_bytes(signed.content)
    (package / "edge.sig").write_bytes(signed.signature)
    code, message = verify(package, publisher.key)
    assert code == 1 and "names a file that this program does not read" in message


def test_a_record_of_another_kind_is_refused(package, publisher):
    signed = publisher.sign(canonical({"kind": "release", "version": 1, "record": {"files": {}}}))
    (package / "edge.json").write_bytes(signed.content)
    (package / "edge.sig").write_bytes(signed.signature)
    assert verify(package, publisher.key) == (1, f"{package}: edge.json lists no files\n")
