"""Bots that play the arena: thousands of cheap clients in one process; some check what they are told."""
