"""Transforms of variants, one file each."""

KIND = "transform"
