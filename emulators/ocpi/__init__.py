"""Charge point operators to talk to: OCPI 2.2.1, the Sender side of its modules Locations and CDRs.

`data` generates their records, `operators` lists them, and `server` answers. All records are invented.
"""
