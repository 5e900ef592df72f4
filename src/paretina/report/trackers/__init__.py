"""Trackers of experiments, one file each."""
