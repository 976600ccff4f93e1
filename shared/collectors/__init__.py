"""The work of the tasks, one module per task.

A collector is a function of its inputs: it gets clients, settings and its `TaskRun` as arguments, and returns
the result. The functions in `functions/scheduled/` provide the arguments, and the engine stores the result.

- `devices_health`: task `collect_devices_health`.
- `charge_locations`, `charge_cdrs` (with `known_cdrs`, `cdr_totals`): the tasks of these names, which read
charge
  point operators through `ocpi`.
- `reset_sms`: task `send_reset_sms`. `reset_recipients`, `phone_numbers` and `reset_texts` decide who gets
which
  message, `sms_outbox` records it, `twilio_messages` sends it, `sms_settling` looks up its outcome later, and
  `sms_tally` counts outcomes.
- `firestore_reads`: Firestore reads with a time limit.
"""
