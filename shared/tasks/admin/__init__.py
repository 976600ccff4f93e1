"""What operators do and see.

- `operations` changes what tasks do, and is the watchdog's pass over all tasks
- `queries` reads task views and the run history from Firestore
- `views` holds what these reads return, `retries` which attempt follows a failure

An instance that only runs tasks or serves results loads neither `queries` nor `views`.
"""
