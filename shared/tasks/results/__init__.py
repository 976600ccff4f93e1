"""What a result is, and its bytes.

- `normalisation`: any JSON value, made JSON once; errors name the place.
- `payload`, `gzipped`: a result's bytes as an instance keeps and serves them.
- `stream`, `records`: a result written, and read, record by record.
- `legacy_json`: objects that a legacy writer stored, checked in bounded memory.
"""
