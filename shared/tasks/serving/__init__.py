"""What an instance serves from its memory.

- `reader`: which result is fresh, which is stale, what is fetched.
- `cache`: the results that this instance holds, within a bound.
- `single_flight`: concurrent requests share one fetch.
"""
