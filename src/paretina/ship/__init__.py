"""Ships a trained network: one file with preprocessing, network and class names, checked against the network it was made of."""
