"""What the tasks do, one module each. They return a result and know nothing of how it is kept."""
