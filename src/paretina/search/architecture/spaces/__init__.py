"""What may be searched, a space a file."""
