"""A million connections on one machine: brought up, held, stirred, and reported."""
