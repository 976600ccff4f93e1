"""Callables of the Firebase client SDK, one file each; `functions.callables` is what they share."""
