"""The commands of `flo`, one a file; each module's `command` is what runs."""
