"""What an instance serves.

- `reader`: serves cached results while they are fresh, and reads them otherwise.
- `cache`: the results that this instance holds, within a limit.
- `single_flight`: concurrent requests share one fetch.
- `read_counts`: counts reads, and logs them once per minute.
"""
