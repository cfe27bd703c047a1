"""Loops: what a bundle declares, and the one Python function each loop is compiled to."""
