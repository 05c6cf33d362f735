"""The players of a world process as storage has them, and their way from one world to another."""
