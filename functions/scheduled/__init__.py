"""Scheduled functions, one file a task; `functions.scheduled_endpoint` is what they share."""
