"""The web application behind servers/center.py."""
