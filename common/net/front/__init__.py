"""What a gateway is made of: connections, outboxes, the mirror of rooms, the ops."""
