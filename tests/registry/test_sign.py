"""Keys, signatures and trusted lists."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.contracts import Signed
from headway.core.errors import ConfigError, Refused
from headway.core.record import canonical
from headway.registry.sign import (
    Publisher,
    Trusted,
    create_publisher,
    create_timestamp_key,
    load_publisher,
    load_timestamp_key,
    load_trusted,
    verify,
)


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return create_publisher(tmp_path_factory.mktemp("keys") / "publisher.pem")


@pytest.fixture
def trusted(ann: Publisher) -> Trusted:
    return Trusted(Path("trusted_keys.txt"), {ann.key: "ann"})


def test_a_new_key_is_readable_only_by_its_owner_and_opens_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "publisher.pem"
    made = create_publisher(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_publisher(file).key == made.key
    assert list(file.parent.iterdir()) == [file]


def test_a_key_of_timestamps_opens_again_and_a_missing_one_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "timestamps.pem"
    with pytest.raises(ConfigError, match=r"no timestamp key: No such file(.|\n)*headway fleet publish makes one"):
        load_timestamp_key(file)
    made = create_timestamp_key(file)
    assert load_timestamp_key(file).key == made.key


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    made = create_publisher(tmp_path / "publisher.pem")
    with pytest.raises(ConfigError, match="cannot make the publisher key: File exists"):
        create_publisher(tmp_path / "publisher.pem")
    assert load_publisher(tmp_path / "publisher.pem").key == made.key


def test_a_key_whose_folder_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot make the publisher key"):
        create_publisher(tmp_path / "file" / "publisher.pem")


def test_a_missing_key_is_reported_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no publisher key: No such file(.|\n)*headway release makes one"):
        load_publisher(tmp_path / "publisher.pem")


def test_a_key_that_other_users_can_read_is_rejected_with_a_hint(tmp_path: Path) -> None:
    file = tmp_path / "publisher.pem"
    create_publisher(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=f"other users can read the publisher key(.|\n)*chmod 600 {file}"):
        load_publisher(file)


def pem_file(folder: Path, content: bytes) -> Path:
    file = folder / "key.pem"
    file.write_bytes(content)
    file.chmod(0o600)
    return file


def test_a_file_without_a_key_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the publisher key cannot be opened"):
        load_publisher(pem_file(tmp_path, b"a shopping list"))


def test_an_encrypted_key_is_rejected(tmp_path: Path, ann: Publisher) -> None:
    locked = ann.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(ConfigError, match="the publisher key cannot be opened: Password"):
        load_publisher(pem_file(tmp_path, locked))


def test_a_key_of_another_kind_is_rejected(tmp_path: Path) -> None:
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ConfigError, match="the publisher key is not an Ed25519 key"):
        load_publisher(pem_file(tmp_path, curve))


def test_the_key_file_is_plain_pkcs8_that_other_tools_open(tmp_path: Path) -> None:
    made = create_publisher(tmp_path / "publisher.pem")
    opened = load_pem_private_key((tmp_path / "publisher.pem").read_bytes(), password=None)
    assert opened.public_key().public_bytes_raw() == made.private.public_key().public_bytes_raw()


@given(content=st.binary(max_size=300))
@settings(deadline=None, max_examples=50)
def test_a_signature_of_a_trusted_key_verifies_and_names_the_key(ann: Publisher, content: bytes) -> None:
    signed = ann.sign(content)
    assert signed == ann.sign(content)
    assert verify(signed, Trusted(Path("t"), {ann.key: ""}), subject="it") == ann.key


def test_changed_bytes_and_a_changed_signature_have_different_messages(ann: Publisher, trusted: Trusted) -> None:
    signed = ann.sign(b"content")
    with pytest.raises(Refused, match="the model was changed after ed25519:"):
        verify(Signed(content=b"Content", signature=signed.signature), trusted, subject="the model")
    with pytest.raises(Refused, match="the signature of the model was changed"):
        verify(Signed(content=b"content", signature=signed.signature + b" "), trusted, subject="the model")


@pytest.mark.parametrize("bit", [0x01, 0x04, 0x20, 0x80])
def test_every_byte_of_a_signature_counts(ann: Publisher, trusted: Trusted, bit: int) -> None:
    signed = ann.sign(b"content")
    for index in range(len(signed.signature)):
        changed = bytearray(signed.signature)
        changed[index] ^= bit
        with pytest.raises(Refused, match=r"the signature of the model was changed|is not trusted"):
            verify(Signed(content=b"content", signature=bytes(changed)), trusted, subject="the model")


def test_a_second_encoding_of_the_same_signature_is_rejected(ann: Publisher, trusted: Trusted) -> None:
    signed = ann.sign(b"content")
    seal = msgspec.json.decode(signed.signature)
    assert seal["signature"].endswith("==")
    other = chr(ord(seal["signature"][-3]) + 1)
    seal["signature"] = seal["signature"][:-3] + other + "=="
    assert base64.b64decode(seal["signature"]) == base64.b64decode(msgspec.json.decode(signed.signature)["signature"])
    with pytest.raises(Refused, match="the signature of the model was changed"):
        verify(Signed(content=b"content", signature=canonical(seal)), trusted, subject="the model")


def test_an_unknown_key_is_reported_with_the_line_that_would_trust_it(ann: Publisher, tmp_path: Path) -> None:
    eve = create_publisher(tmp_path / "eve.pem")
    trusted = Trusted(tmp_path / "trusted_keys.txt", {ann.key: "ann"})
    with pytest.raises(Refused) as caught:
        verify(eve.sign(b"content"), trusted, subject="the model", where="here")
    assert caught.value.what == f"the model is signed by {eve.key}, which is not trusted"
    assert caught.value.where == "here"
    assert f"add to {tmp_path / 'trusted_keys.txt'} the line: {eve.key}" in caught.value.hint


def test_a_signature_by_another_key_than_the_named_one_is_rejected(
    ann: Publisher, trusted: Trusted, tmp_path: Path
) -> None:
    seal = msgspec.json.decode(create_publisher(tmp_path / "eve.pem").sign(b"content").signature)
    forged = canonical({**seal, "key": ann.key})
    with pytest.raises(Refused, match="the signature of the model was changed"):
        verify(Signed(content=b"content", signature=forged), trusted, subject="the model")


def test_a_trusted_list_has_keys_comments_and_blank_lines(ann: Publisher, tmp_path: Path) -> None:
    file = tmp_path / "trusted_keys.txt"
    file.write_text(f"# who may publish\n\n{ann.key}  ann of the flights team\n", encoding="utf-8")
    assert load_trusted(file) == Trusted(file, {ann.key: "ann of the flights team"})


def test_a_missing_trusted_list_trusts_no_key(tmp_path: Path) -> None:
    assert load_trusted(tmp_path / "trusted_keys.txt").keys == {}


@pytest.mark.parametrize("line", ["ann", "ed25519:AAAA", "rsa:" + "A" * 43 + "=", "ed25519:" + "A" * 42 + "B="])
def test_an_invalid_key_is_named_by_file_and_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "trusted_keys.txt"
    file.write_text(f"\n{line} comment\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{line!r} is not a key") as caught:
        load_trusted(file)
    assert caught.value.where == f"{file}:2"


def test_a_binary_trusted_list_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "trusted_keys.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="the trusted keys cannot be read"):
        load_trusted(tmp_path / "trusted_keys.txt")
