"""Recorded by test_real.py: threads, native modules, file mappings, a child process. The benchmark
has it do so more often: the number of rounds is an argument.

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


def run_child():
    print(subprocess.run(["echo", "child"], capture_output=True, text=True, check=True).stdout.strip())


def import_anew():
    """The modules that are written in Python and may be imported again, as at the start."""
    for name in ("decimal", "sqlite3", "json", "http.client", "xml.dom.minidom"):
        for module in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
            del sys.modules[module]
        __import__(name)


print("ready", flush=True)
run_threads()
sys.stdin.readline()
map_file()
import ctypes  # noqa: E402  (loaded while the program runs)
import decimal  # noqa: E402
import sqlite3  # noqa: E402
print(ctypes.sizeof(ctypes.c_long), decimal.Decimal(2).sqrt(), sqlite3.connect(":memory:").execute(
    "select 6 * 7").fetchone()[0])
run_child()
run_threads()
for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 0):
    run_threads()
    map_file()
    import_anew()
    run_child()
    run_threads()
