"""The documents that the engine keeps in Firestore.

- `models`: the status document and the run record as they are read.
- `run_ids`: ids of runs and of the other records in the run history.
- `run_writes`, `operator_writes`, `watchdog_writes`: what a run, an operator and the watchdog write. No other
  module writes these documents.
- `write_messages`: the builders of single writes that those three compose.
- `codec`: Firestore's wire values.
"""
