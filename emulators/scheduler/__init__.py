"""A local Cloud Scheduler: delivers the ticks of scheduled functions, and serves the REST API of their jobs.

The local stack starts it as `python -m emulators.scheduler`. It reads the functions' manifest and calls the
functions over HTTP; it imports nothing of the product. Clients cannot create, change or delete jobs, because
a job's schedule comes from its function.

- `manifest`, `job`: which jobs there are.
- `schedule`: the ticks of a schedule.
- `engine`: when to send, retry or skip; `clock` provides the time.
- `dispatch`: sends attempts to the Functions emulator.
- `server`: the REST API.
"""
