"""Runs of tasks: the instance's runs, and each call of `execute_task` from its start to its outcome.

- `runner` has `execute_task`, and knows the runs of this instance, for SIGTERM and for tasks that hang.
- `execution` acquires the task, and publishes its result or hands the run over to its next leg.
- `held_run` extends the lease while the task works, and ends the attempt in time.
- `task_thread` is the task's own thread, and `task_run` is what the task sees of its run, with its
  `run_logger`.
- `checkpoints` has the run's `steps` and `cursors`, and `record_parts` the records that the task yields;
  `run_storage` keeps them in Firestore and Storage. `checkpoint_limits` has their limits, and `leg_time`
  decides whether the leg is over.
- `prepared_result` decides where the result goes, and uploads it before the commit.
"""
