"""Scheduled functions, one file a task; `functions.delivery` is what they share."""
