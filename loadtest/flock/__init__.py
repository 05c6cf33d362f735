"""The load client: one process that is thousands of real clients, in tens of bytes each."""
