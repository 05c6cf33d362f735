"""Decisions: no I/O, time is passed in."""
