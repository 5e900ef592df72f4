"""Saliency maps, one method a file."""
