"""Watchdogs: always-on checks of the loops themselves. One file each; what they find stands on the board."""
