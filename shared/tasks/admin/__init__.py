"""What operators do and see.

- `operations` changes what tasks do, and is the watchdog's pass over all tasks
- `queries` reads task views and the run history from Firestore, `timeline` the records of many tasks
- `views` and `records` hold what these reads return: tasks, and documents of the run history
- `retries` computes which attempt follows a failure
- `run_view` reads one run with its log, which `run_logs` joins from those of its attempts

An instance that only runs tasks or serves results loads only `operations`.
"""
