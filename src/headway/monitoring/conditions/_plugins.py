"""States of a model that alerts are sent on, one file each."""

KIND = "condition"
