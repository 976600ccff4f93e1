"""Demo charge point operators: the Sender interfaces of OCPI 2.2.1's modules Locations and CDRs.

- `operators`: the operators, and the setting with which the tasks reach them.
- `data`: their records, all invented.
- `server`: their HTTP server.
"""
