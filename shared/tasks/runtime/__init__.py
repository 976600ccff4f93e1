"""One call of `execute_task`, from its start to its outcome.

- `execution`: start, work, publish.
- `attempt`: holds the task for it; `dependencies` is what it needs of the world.
- `task_thread`, `workers`: the task at work, and the threads for it.
- `task_run`: what the task sees of its run.
- `publication`: where the result goes.
- `at_work`: the runs of this process, for SIGTERM and for tasks that hang.
"""
