"""What a run, a read, an operator and the watchdog do, as generators of effects that talk to no server.

- `effects`, `effect_handler`: what a procedure asks for, and what carries it out.
- `decisions`, `request_decision`: what to do with documents and a clock; pure functions.
- `acquisition`, `attempt`, `run_end`: take a task, hold it, end the run.
- `legs`, `checkpoint`: hand a long run over to its next leg; persist steps, positions and parts.
- `result_read`: read the last good result; `contract_copy` keeps the copy at the contract's path.
- `suspension`, `cancellation`, `requested_runs`: what operators do; `operator_action` is what these share.
- `job_sync`: keeps Cloud Scheduler's job in the state that the status document requires.
- `watchdog`, `incidents`, `retention`: repair interrupted runs, report incidents, remove old objects.
"""
