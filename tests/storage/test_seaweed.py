"""The S3 server of the tests, which the other tests kill and start again."""

from __future__ import annotations

import pytest
from tests.storage.seaweed import Seaweed


@pytest.mark.services
def test_a_killed_server_has_what_it_stored_when_it_is_started_again(s3: str, seaweed: Seaweed) -> None:
    client, bucket = seaweed.client(), s3.split("/")[2]
    client.put_object(Bucket=bucket, Key="team/first", Body=b"content")
    seaweed.kill()
    seaweed.start()
    assert client.get_object(Bucket=bucket, Key="team/first")["Body"].read() == b"content"
