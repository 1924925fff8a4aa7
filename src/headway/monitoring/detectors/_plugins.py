"""Drift detectors, one file each."""

KIND = "detector"
