"""Messages of customers are one file each, found by key, and gone when they are erased."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headway.core.errors import StoreError
from headway.core.support import CustomerMessage
from headway.storage.messages import (
    add_message,
    find_message,
    message_files,
    messages_folder,
    read_messages,
    update_message,
)

FIRST = CustomerMessage(key="mail-1", source="imap", received_at="2026-11-28T10:00:00+00:00", text="where is it")
SECOND = replace(FIRST, key="mail-0", received_at="2026-11-28T11:00:00+00:00")


def test_messages_are_read_in_the_order_in_which_they_came(tmp_path):
    assert read_messages(tmp_path, "shop") == []
    assert add_message(tmp_path, "shop", SECOND) and add_message(tmp_path, "shop", FIRST)
    assert read_messages(tmp_path, "shop") == [FIRST, SECOND]
    assert not add_message(tmp_path, "shop", replace(FIRST, text="again"))
    assert find_message(tmp_path, "shop", "mail-1") == FIRST
    assert find_message(tmp_path, "shop", "mail-2") is None


def test_a_message_is_replaced_unless_it_was_erased(tmp_path):
    add_message(tmp_path, "shop", FIRST)
    changed = replace(FIRST, state="people")
    assert update_message(tmp_path, "shop", changed)
    assert find_message(tmp_path, "shop", "mail-1") == changed
    (file,) = message_files(tmp_path, key="mail-1")
    file.unlink()
    assert not update_message(tmp_path, "shop", FIRST)
    assert read_messages(tmp_path, "shop") == []


def test_files_are_found_by_key_and_by_age(tmp_path):
    add_message(tmp_path, "shop", FIRST)
    add_message(tmp_path, "shop", SECOND)
    assert [path.stem for path in message_files(tmp_path, before_ns=1_795_861_800 * 10**9)] == ["mail-1"]
    assert list(message_files(tmp_path, key="../../headway")) == []
    assert list(message_files(tmp_path, before_ns=0)) == []


def test_a_damaged_file_and_a_folder_that_is_none_are_named(tmp_path):
    add_message(tmp_path, "shop", FIRST)
    next(message_files(tmp_path, key="mail-1")).write_text("{")
    with pytest.raises(StoreError):
        find_message(tmp_path, "shop", "mail-1")
    messages_folder(tmp_path, "other").write_text("")
    with pytest.raises(StoreError, match="cannot be saved"):
        add_message(tmp_path, "other", FIRST)
    with pytest.raises(StoreError, match="cannot be saved"):
        update_message(tmp_path, "absent", FIRST)
