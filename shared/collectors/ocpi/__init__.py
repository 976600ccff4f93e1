"""A client of OCPI 2.2.1 (Open Charge Point Interface) that reads from charge point operators.

It is the Receiver of the Sender interface (pull model) and never writes to an operator. Modules, in the order
in which data passes through them:

- `operators`: parses the setting with the operators and their tokens.
- `bounded`, `transport`: send one HTTP request, limited in bytes, time and attempts.
- `envelope`, `links`: decode a response and its `Link` header.
- `client`: finds the endpoints and reads lists page by page.
- `records`, `reading`: define the objects of OCPI, and check records against them.
- `crawl`, `crawled`: read all operators in parallel, and hold what came of each.
- `spool`: sorts records on disk.
- `owners`: decides which operator a party belongs to.
- `memory`, `requests`: what one run stores for the next, and what people request.
- `summary`: shortens a summary to the size that a run accepts.
"""
