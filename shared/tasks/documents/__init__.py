"""The documents that the engine stores in Firestore.

- `models`: the status document and the run record as they are read; `actions`: what people did, in both.
- `result_pointer`: what the status document contains about its result.
- `legs`, `checkpoints`: where a long run is, and what a run has persisted; `leg_writes` and
  `checkpoint_writes` write them.
- `run_log`: the last lines that a task logged; `log_writes` writes them.
- `run_ids`: the identity of an attempt; ids of runs and of the other records in the run history.
- `run_writes`, `operator_writes`, `watchdog_writes`: what a run, an operator and the watchdog write. No other
  module writes these documents.
- `write_messages`: builders of single writes.
- `codec`: conversion to and from Firestore's wire values.
"""
