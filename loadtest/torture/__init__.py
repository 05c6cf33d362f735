"""The torture test of kept messages: `make torture MINUTES=30`; docs/testing.md tells what it does."""
