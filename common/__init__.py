"""What the process groups share; see docs/architecture.md for who may import whom."""
