"""Each module does the same task in a different way, in a separate process."""
