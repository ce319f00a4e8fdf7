"""Corpora and images prepared once for all hosts and runs: how they are made, stored and read.

`ssl_jax.prepare` makes them in two passes. Each consists of tasks that know nothing of each other, so that any number
of machines may share them, and that write their result whole or not at all, so that they may be repeated:

- `parts`: a part of the source is tokenised into a file that is ordered by the hash of each document.
- `shards`: a shard collects a range of hashes from all parts, orders its documents and writes records.

`manifest` describes the result, `reading` opens it, `records` is the storage of both.
"""
