"""Callables of the Firebase client SDK, one per file. `functions.callable_endpoint` has their common code."""
