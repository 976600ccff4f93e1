"""The calls to Firestore, Storage and Cloud Scheduler, and what their failures mean.

- `firestore`, `firestore_calls`: the documents of tasks; the RPCs, and what their failures mean.
- `storage`, `uploads`, `downloads`: result objects.
- `scheduler`: Cloud Scheduler jobs.
"""
