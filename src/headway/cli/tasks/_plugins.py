"""Tasks of the schedule, one file each."""

KIND = "task"
