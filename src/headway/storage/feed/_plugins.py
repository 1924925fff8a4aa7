"""Change feeds between servers, one file each."""

KIND = "feed"
