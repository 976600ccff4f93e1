"""Charge point operators to talk to: OCPI 2.2.1, the Sender side of its modules Locations and CDRs.

`data` makes what they know, `operators` says who they are, `server` answers. Nobody's car was
charged by any of this.
"""
