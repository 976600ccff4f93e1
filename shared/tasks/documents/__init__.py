"""The documents that the engine keeps in Firestore.

- `models`: the status document and the run record as they are read.
- `writes`: every write to them; no other module writes these documents.
- `codec`: Firestore's wire values.
"""
