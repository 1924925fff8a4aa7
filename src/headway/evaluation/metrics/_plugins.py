"""Metrics of a variant against its baseline, one file each."""

KIND = "metric"
