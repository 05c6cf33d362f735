"""What a world process is made of besides rooms: the lines of its spatial map, and who plays in them."""
