"""What a channel is worth, a way a file; each has `METHOD`."""
