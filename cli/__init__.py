"""Command line for operators, `python -m cli`. It uses the same HTTP interfaces as the page.

- `app`: the program, its options and exit codes
- `read_commands`, `show_command`, `log_commands`, `change_commands`, `session_commands`: the commands
- `callables`, `authentication`, `http_client`, `target`: requests to the callables and to Firebase Auth
- `polling`: waiting for runs, and the live table
- `cloud_logging`: links to Cloud Logging
- `rendering`, `tables`, `terminal`, `exports`: output
- `times`, `lateness`: times as typed and shown; how late a result is
- `version`: the version and the commit
- `completion`: shell completion
"""
