from tests.common.net.sites import run_dir, sites
from tests.redis_server import make_store, own_redis, redis_server, shared_redis, store

__all__ = ["make_store", "own_redis", "redis_server", "run_dir", "shared_redis", "sites", "store"]
