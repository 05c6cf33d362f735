"""Maps: what a game, or a chat, does. Write your own: docs/worlds.md."""
