"""Results and their bytes.

- `normalisation`: converts what a task returned to JSON, once; errors contain the place.
- `task_result`: a last good result, as it was read, cached and served.
- `payload`, `gzipped`: the bytes of a result as an instance caches and serves them.
- `stream`, `records`: write and read a result record by record.
- `parts`: arrays that a run stores before it ends, and joins into its result.
- `legacy_json`: checks objects that a legacy writer stored, in bounded memory.
"""
