"""Bytes to packets and back: no I/O, no clock."""
