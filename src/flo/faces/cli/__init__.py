"""The command line, `flo`."""
