"""Real programs and what they are made to do: python3, node, java, redis, git, gcc, postgres, chromium.

Each runs behind a prefix: none, `vmtrail record ... --`, or strace with the recorder preloaded. What
it answers is compared by the tests.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import pwd
import shutil
import subprocess
import unittest

from harness import (TIMEOUT, VMTRAIL, TraceTest, environment, run, start, stop, wait_until)

HERE = pathlib.Path(__file__).parent / "real"
POSTGRES = pathlib.Path(max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), default="/none"))
WAIT = 4 * TIMEOUT  # strace takes its time


def needs(*commands):
    missing = [c for c in commands if not shutil.which(c)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class RealPrograms(TraceTest):
    def converse(self, argv, in_the_middle=lambda: lambda: None, **kwargs):
        """Run a program that says "ready" and goes on at a line of input.

        in_the_middle is called between; what it returns is called at the end.
        """
        process = start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, **kwargs)
        self.addCleanup(stop, process)
        first = process.stdout.readline()
        finish = in_the_middle()
        out, err = process.communicate("go on\n", timeout=WAIT)
        finish()
        return subprocess.CompletedProcess(argv, process.returncode, first + out, err)

    def ask_for_snapshot(self, exe):
        """Ask; the process answers at its next memory call. Returns what waits for the answer."""
        trace = wait_until(lambda: self.traces(exe))[0]
        asking = start([VMTRAIL, "snapshot", trace.path])
        self.addCleanup(stop, asking)

        def finish():
            self.assertEqual(asking.wait(WAIT), 0, "no snapshot on demand")

        return finish

    def serve(self, directory, prefix, in_the_middle):
        """redis-server under load, with a save in the background; what its clients saw."""
        directory.mkdir()
        socket = directory / "socket"
        cli = ["redis-cli", "-s", socket]
        server = start([*prefix, "redis-server", "--port", "0", "--unixsocket", socket, "--dir",
                        directory, "--save", "", "--logfile", directory / "log",
                        "--daemonize", "no"],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(stop, server)
        wait_until(lambda: run([*cli, "ping"]).stdout == "PONG\n")
        said = []

        def load(*args):
            done = run(["redis-benchmark", "-s", socket, "-q", "-c", "20", "-n", "20000", *args])
            self.assertEqual(done.returncode, 0, done.stderr)

        def ask(*args):
            said.append(run([*cli, *args]).stdout)

        load("-t", "set,get,lpush,mset", "-d", "200")
        ask("eval", "for i = 1, 20000 do redis.call('set', 'key:' .. i, i * 12345678) end", "0")
        finish = in_the_middle()
        ask("bgsave")
        load("-t", "set,sadd", "-r", "1000")
        finish()
        wait_until(lambda: "rdb_bgsave_in_progress:0" in run([*cli, "info", "persistence"]).stdout)
        ask("exists", "key:1", "key:20000", "key:20001")
        ask("llen", "mylist")
        ask("flushall")
        ask("dbsize")
        run([*cli, "shutdown", "nosave"])
        out, err = server.communicate(timeout=WAIT)
        size = (directory / "dump.rdb").stat().st_size
        return subprocess.CompletedProcess([], server.returncode, out + "".join(said),
                                           err + f"saved {size > 200000}")

    def run_script(self, prefix, script, home, **env):
        """A shell script with a home of its own, which its answers do not name."""
        home.mkdir()
        done = run([*prefix, "sh", HERE / script, home], timeout=WAIT,
                   env=environment(HOME=str(home), **env))
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.replace(str(home), "."),
            done.stderr.replace(str(home), "."))

    def run_git(self, prefix, home):
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Nobody"), ("EMAIL", "nobody@example.org"),
                                   ("DATE", "2020-01-01T00:00:00Z"))}
        return self.run_script(prefix, "work_git.sh", home, GIT_CONFIG_NOSYSTEM="1", **who)

    def run_gcc(self, prefix, home):
        return self.run_script(prefix, "work_gcc.sh", home)

    def run_chromium(self, prefix, home):
        """A page's picture; returns it."""
        home.mkdir()
        picture = home / "picture.png"
        done = run([*prefix, "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                    f"--user-data-dir={home}/profile", f"--screenshot={picture}",
                    "data:text/html,<h1>hello</h1><p>world</p>"],
                   timeout=WAIT, env=environment(HOME=str(home)))
        self.assertEqual(done.returncode, 0, done.stderr)
        return picture.read_bytes()

    def run_postgres(self, server_prefix, client_prefix, home):
        """A server under pgbench's load: (transactions done, its ledger in balance).

        The server refuses to run as root: whoever else there is, then.
        """
        who = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            self.dir.chmod(0o755)
        home.mkdir()
        for path in (home, self.traces_dir, *(p for p in self.dir.iterdir() if p.is_file())):
            os.chown(path, who.get("user", -1), who.get("group", -1))
        env = environment(HOME=str(home), PGHOST=str(home), PGUSER="nobody", PGDATABASE="postgres")

        def ask(argv, prefix=()):
            done = run([*prefix, POSTGRES / argv[0], *argv[1:]], env=env, cwd=home, timeout=WAIT,
                       **who)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return done.stdout

        ask(["initdb", "-D", home / "data", "-A", "trust", "-U", "nobody", "-N"])
        with open(self.dir / "postgres.log", "w", encoding="utf-8") as log:
            server = start([*server_prefix, POSTGRES / "postgres", "-D", home / "data", "-k", home,
                            "-c", "listen_addresses=", "-c", "fsync=off"],
                           stdout=log, stderr=log, env=env, cwd=home, **who)
        self.addCleanup(stop, server)

        def is_ready():
            self.assertIsNone(server.poll(), (self.dir / "postgres.log").read_text())
            return run([POSTGRES / "pg_isready", "-q"], env=env).returncode == 0

        wait_until(is_ready)
        ask(["pgbench", "-i", "-s", "2", "-q"])
        ask(["pgbench", "-c", "8", "-j", "2", "-t", "200"], client_prefix)
        said = ask(["psql", "-At", "-c", "select count(*), sum(delta) - (select sum(abalance) from "
                    "pgbench_accounts) from pgbench_history"])
        ask(["pg_ctl", "-D", home / "data", "stop", "-m", "fast"])
        self.assertEqual(server.wait(WAIT), 0)
        return said
