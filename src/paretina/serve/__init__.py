"""Serves a model over HTTP: predictions, health, metrics, and a page to try it on."""
