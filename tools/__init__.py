"""What the ./roost command does."""
