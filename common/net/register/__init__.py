"""What a session process does with what it knows: who is connected, by which gateway."""
