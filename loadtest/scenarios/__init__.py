"""Everyday use as locustfiles: chat, push, reconnects, each with thresholds that fail the run."""
