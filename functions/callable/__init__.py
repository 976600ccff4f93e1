"""Callables of the Firebase client SDK, one file each; `functions.callable_endpoint` is what they share."""
