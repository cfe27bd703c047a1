"""Observed edges: what is seen to feed what, kept beside what the bundle declares."""
