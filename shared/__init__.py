"""What the deployed functions share. Knows nothing of HTTP."""
