"""Compound scaling: which shares of depth, width and resolution make the best larger network for a cost."""
