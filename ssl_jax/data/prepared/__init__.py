"""Corpora and images prepared once for all hosts and runs: how they are made, stored and read.

`ssl_jax.prepare` makes them by tasks that know nothing of each other, so that any number of machines may share them,
and that write their result whole or not at all, so that they may be repeated. Text takes two passes:

- `parts`: a part of the source is tokenised into a file that is ordered by the hash of each document.
- `shards`: a shard collects a range of hashes from all parts, orders its documents and writes records.

Images take one, since their number is known beforehand: `image_shards`, each of a range of the source.

`preparation` and `image_preparation` give out the tasks, by `beam`, and keep their notes by `work`. `manifest`
describes the result, `reading` and `image_reading` open it, `records` is the storage of both.
"""
