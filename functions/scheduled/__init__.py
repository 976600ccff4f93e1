"""Scheduled functions, one file per task. `functions.scheduled_endpoint` has their common code."""
