"""Test every installed blob store."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.core.contracts import Blobs
from headway.core.errors import StoreError
from headway.core.plugins import load_blobs, names
from headway.core.record import digest_of


@pytest.fixture(params=names("blobs"))
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return load_blobs(request.param)(tmp_path)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_stored_bytes_are_returned_unchanged_by_digest(blobs: Blobs, content: bytes) -> None:
    digest = blobs.put(content)
    assert digest == digest_of(content)
    assert blobs.get(digest) == content


def test_putting_again_changes_nothing(blobs: Blobs) -> None:
    assert blobs.put(b"model") == blobs.put(b"model")
    assert blobs.get(digest_of(b"model")) == b"model"


def test_a_digest_that_was_never_put_is_named(blobs: Blobs) -> None:
    with pytest.raises(StoreError, match=digest_of(b"absent")):
        blobs.get(digest_of(b"absent"))


@pytest.mark.parametrize("digest", ["", "abc", "md5:" + "0" * 64, "sha256:../../../etc/passwd", "sha256:" + "A" * 64])
def test_a_malformed_digest_is_refused(blobs: Blobs, digest: str) -> None:
    with pytest.raises(StoreError, match="is not a digest"):
        blobs.get(digest)
