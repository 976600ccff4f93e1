"""A client of OCPI 2.2.1 (Open Charge Point Interface): reads what charge point operators send.

`operators` says whom to ask, `transport` makes one bounded HTTP request, `envelope` opens the
response, `links` parses its `Link` header, `client` discovers and pages, `records` checks what
comes, `crawl` asks several operators side by side, `spool` keeps what they said on disk, and
`summary` makes what is told of it fit. It is the Receiver's side of the Sender interface (pull
model); it never writes to an operator.
"""
