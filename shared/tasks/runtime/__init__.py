"""Runs of tasks: the instance's runs, and each call of `execute_task` from its start to its outcome.

- `runner` has `execute_task`, and knows the runs of this instance, for SIGTERM and for tasks that hang.
- `execution` acquires the task, extends the lease while it works, and publishes its result.
- `task_thread` is the task's own thread, and `task_run` is what the task sees of its run.
- `prepared_result` decides where the result goes, and uploads it before the commit.
"""
