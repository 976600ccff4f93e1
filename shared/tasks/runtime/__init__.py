"""One call of `execute_task`, from its start to its outcome.

- `execution` takes the task, waits for the work and publishes its result; `dependencies` is what it needs.
- `task_thread` is the task's own thread, and `task_run` what the task sees of its run.
- `publication` decides where the result goes.
- `at_work` knows the runs of this process, for SIGTERM and for tasks that hang.
"""
