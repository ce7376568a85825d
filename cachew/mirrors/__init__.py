"""Bare clones on disk."""
