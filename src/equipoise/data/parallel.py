"""Threads over many small jobs, results in order, few held at once; Pillow decodes outside the interpreter's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

CHUNK = 16  # jobs a thread takes at once


def ordered(function: Callable[[A], B], jobs: Iterable[A], threads: int | None = None) -> Iterator[B]:
    """function(job) for each job in order, computed by a few threads that run at most a few chunks ahead."""
    threads = threads or min(8, os.cpu_count() or 1)
    source, waiting = iter(jobs), deque[Future[list[B]]]()
    with ThreadPoolExecutor(threads, thread_name_prefix="equipoise-data") as pool:
        try:
            while chunk := list(islice(source, CHUNK)):
                waiting.append(pool.submit(lambda chunk: [function(job) for job in chunk], chunk))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
