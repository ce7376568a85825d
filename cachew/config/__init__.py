"""The settings: from a TOML file to frozen models, with every mistake told at once."""
