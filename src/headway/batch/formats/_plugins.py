"""File formats of batch scoring, one file each."""

KIND = "format"
