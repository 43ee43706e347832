"""How many files the processes of `sealwright serve` may have open: a connection is one."""

import resource

from service.cli import output
from service.protocol import MAX_BUSY
from service.settings import PREFIX, Settings

BESIDES = 256
"""For all that is no connection of a caller: Redis, listeners, modules, files of keys."""


def allow(settings: Settings) -> None:
    """Raise this process's own limit, and with it that of its workers, as far as it needs.

    A worker without a descriptor left could not reach Postgres, nor read a key: better not to start.
    """
    needed = settings.max_connections + MAX_BUSY + settings.database_pool_size + BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _suffices(soft, needed):
        return
    if not _suffices(hard, needed):
        output.fail(
            f"{PREFIX}MAX_CONNECTIONS={settings.max_connections} takes {needed} open files a worker, and the system "
            f"allows {hard}: raise that (ulimit -n, LimitNOFILE=), or lower the setting"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _suffices(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
