"""Argument parsing and terminal output only."""
