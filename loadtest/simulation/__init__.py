"""A cluster of a thousand gateways without a socket: the real rules, simulated time, counted costs."""
