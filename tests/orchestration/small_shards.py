"""``model.inference`` with shards so small that a tiny world has several for each process."""

import sys

from model.inference import __main__, shards

USERS_PER_SHARD = 64

if __name__ == "__main__":
    shards.USERS_PER_SHARD = USERS_PER_SHARD
    sys.exit(__main__.main())
