"""Commands of `headway`, one file each."""

KIND = "command"
