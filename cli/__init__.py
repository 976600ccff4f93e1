"""The command line for operators: `python -m cli`.

It speaks HTTP with the callables and with Firebase Auth, as the page does, and knows nothing else of the
product. `commands` says what there is, `calls` and `identity` speak, `shown` and `exports` show.
"""
