"""Readers of databases, one file each, named as the scheme of its URLs."""

KIND = "source"
