"""A git caching server: fresh clones and fetches from mirrors, snapshots at once."""
