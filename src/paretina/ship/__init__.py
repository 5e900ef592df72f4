"""What goes out: steps from a trained network to what is shipped."""
