"""Each module is one way to do the task, run as a process of its own."""
