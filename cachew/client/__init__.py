"""The library behind the command line."""
