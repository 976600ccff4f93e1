"""What operators see: tasks and their history.

- `desk`: the functions for callables.
- `viewing`, `viewer`: how tasks and history are read, and the calls for it.
- `views`: what is returned.
"""
