"""Composes the server out of its settings, starts and stops it; nothing here runs during a request."""
