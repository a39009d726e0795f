"""Recorded by test_real.py: threads, native modules, file mappings, a child process.

SPDX-License-Identifier: MIT
"""
import hashlib
import mmap
import subprocess
import sys
import tempfile
import threading
import zlib

results = {}


def compress(index):
    data = bytes(range(256)) * 400 * (index + 1)
    results[index] = hashlib.sha256(zlib.compress(data, 9)).hexdigest()[:16]


def run_threads():
    threads = [threading.Thread(target=compress, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*(results[i] for i in range(16)))


def map_file():
    with tempfile.TemporaryFile() as file:
        file.truncate(1 << 20)
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[4096:4100] = b"here"
            memory.flush()
            print(memory.find(b"here"))


print("ready", flush=True)
run_threads()
sys.stdin.readline()
map_file()
import ctypes  # noqa: E402  (loaded while the program runs)
import decimal  # noqa: E402
import sqlite3  # noqa: E402
print(ctypes.sizeof(ctypes.c_long), decimal.Decimal(2).sqrt(), sqlite3.connect(":memory:").execute(
    "select 6 * 7").fetchone()[0])
print(subprocess.run(["echo", "child"], capture_output=True, text=True, check=True).stdout.strip())
run_threads()
