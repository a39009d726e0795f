#!/usr/bin/env python3
"""What bootstrap.sh records: a program with threads, a file mapping and a native module.

SPDX-License-Identifier: MIT
"""
import mmap
import tempfile
import threading

PAGE = mmap.PAGESIZE


def fill_buffers(rounds):
    """Blocks above malloc's threshold: each is a mapping of its own."""
    return sum(len(bytearray(300_000 + 4096 * i)) for i in range(rounds))


def use_anonymous_memory(rounds):
    for i in range(rounds):
        with mmap.mmap(-1, (1 + i % 8) * PAGE) as memory:
            memory.write(b"vmtrail")
            memory.madvise(mmap.MADV_DONTNEED)


def count_lines(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as text:
        lines = 0
        while text.readline():
            lines += 1
        return lines


def main():
    threads = [threading.Thread(target=fill_buffers, args=(200,), name=f"buffers-{i}")
               for i in range(3)]
    threads += [threading.Thread(target=use_anonymous_memory, args=(500,), name=f"pages-{i}")
                for i in range(2)]
    for thread in threads:
        thread.start()

    with tempfile.NamedTemporaryFile() as file:
        file.write(b"one line of many\n" * 100_000)
        file.flush()
        lines = count_lines(file.name)

    import sqlite3  # loads a native module and its library while the threads map memory
    database = sqlite3.connect(":memory:")
    total = database.execute("select sum(value) from json_each('[1, 2, 3, 4]')").fetchone()[0]

    for thread in threads:
        thread.join()
    print(f"{lines} lines mapped, {total} from the native module, {len(threads)} threads")


if __name__ == "__main__":
    main()
