"""Prepares trained networks for deployment."""
