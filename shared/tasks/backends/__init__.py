"""The calls to Firestore, Storage, Cloud Scheduler and Cloud Tasks, and what their failures mean.

- `firestore`, `firestore_calls`: the documents of tasks; the RPCs, and what their failures mean.
- `storage`, `uploads`, `downloads`: result objects.
- `scheduler`: Cloud Scheduler jobs.
- `leg_queue`: the Cloud Tasks that deliver the legs of long runs.
"""
