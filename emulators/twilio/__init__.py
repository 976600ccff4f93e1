"""A local Twilio that accepts messages and delivers none.

- `messages`: the messages, in memory.
- `server`: the REST API.
"""
