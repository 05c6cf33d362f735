"""`make bench-peers`: the same fan-out work on Roost and on other servers, side by side."""
