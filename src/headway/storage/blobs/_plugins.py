"""Stores of content-addressed bytes, one file each."""

KIND = "blobs"
