"""The program sees the environment that it would have had, and its images are recorded all the same.

SPDX-License-Identifier: MIT
"""
import os

from harness import TraceTest, environment, main, preloaded, program, run

FORKER = program("forker")


class Environment(TraceTest):
    def record_shell(self, script, traces, **env):
        self.record_and_compare(["sh", "-c", script], env=environment(**env))
        self.assertEqual(len(self.traces()), traces, self.traces())
        for old in self.traces():
            old.path.unlink()

    def test_a_program_and_its_images_see_what_they_would_without_us(self):
        self.record_shell("env", 2)
        self.record_shell("exec env -i env", 3)
        self.record_shell("env -i A=1 env; env -u A env; LD_PRELOAD= env; exec env", 7)

    def test_other_preloaded_libraries_stay(self):
        for preload in ("", "libm.so.6", "libm.so.6:libdl.so.2", "libm.so.6 libdl.so.2"):
            with self.subTest(preload=preload):
                self.record_shell("env; env -u LD_PRELOAD env; exec env", 5, LD_PRELOAD=preload,
                                  ASAN_OPTIONS="check_printf=1")

    def test_an_empty_environment_and_one_that_cannot_be_read(self):
        self.record_and_compare([FORKER, "empty"])
        self.assertEqual(len(self.traces()), 2)

    def test_what_lies_behind_the_environment_is_found(self):
        self.record_and_compare([FORKER, "walk", "x"], env=environment())
        self.record_and_compare(["env", "-i", FORKER, "walk", "x"])

    def test_a_long_environment(self):
        many = {f"VARIABLE_{i}": "x" * (i % 400) for i in range(600)}
        self.record_shell("env | cksum; env -i env; exec env", 6, **many)

    def test_spawned_images_with_an_environment_of_their_own(self):
        script = ("import os, subprocess\n"
                  "print(sorted(os.environ.items()), flush=True)\n"
                  "subprocess.run(['env'], env={'PATH': os.environ['PATH']})\n"
                  "os.waitpid(os.posix_spawnp('env', ['env'], {'B': '2'}), 0)\n"
                  "os.execvpe('env', ['env'], {'C': '3'})\n")
        self.record_and_compare([os.path.realpath("/proc/self/exe"), "-c", script])
        self.assertEqual(len(self.traces("env")), 3)

    def test_without_the_command_nothing_is_hidden_but_images_are_followed(self):
        result = run(["sh", "-c", "env; exec env -i env"], env=preloaded(self.traces_dir))
        self.assertIn("LD_PRELOAD=", result.stdout)
        self.assertEqual(result.stdout.count("LD_PRELOAD="), 1)
        self.assertEqual(len(self.traces("env")), 3)

    def test_without_children_they_see_nothing_either(self):
        self.record_and_compare(["sh", "-c", "env; env -i env; exec env"], "--children=no",
                                env=environment())
        self.assertEqual({trace.path.name.split(".")[1] for trace in self.traces()},
                         {os.path.basename(os.path.realpath("/bin/sh")), "env"})
        self.assertEqual(len(self.traces()), 2)


if __name__ == "__main__":
    main()
