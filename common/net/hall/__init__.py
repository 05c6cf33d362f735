"""What a world process is made of: its rooms, who is in them, and the durable log."""
