"""Checks of data, one file each, in a folder for each family."""

KIND = "check"
IN_FAMILIES = True
