"""Leases and records that replicas share."""
