"""Map moves under fire: what players were told against where they are at the end."""
