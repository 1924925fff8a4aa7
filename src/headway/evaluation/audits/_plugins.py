"""Audits of the variant to release, one file each."""

KIND = "audit"
