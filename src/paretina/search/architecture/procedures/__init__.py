"""How the next points of a space are chosen, a procedure a file."""
