"""Each module does the task in one way, in a separate process."""
