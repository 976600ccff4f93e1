"""The calls to Google's services, and what their failures mean.

- `firestore`: the engine's documents.
- `storage`, `uploads`, `downloads`: result objects.
- `scheduler`: Cloud Scheduler's jobs.
"""
