"""The door of preload/: each mechanism that README.md there relies on, taken out, breaks a test.

For each row the sources are copied, one edit takes a mechanism out, the library is built, and the
named test must fail. A mutation that no test notices is a sentence without a proof: it is told, and
the run fails. `door.py --list` prints the rows as a table, and the sentences that have none; names as
arguments run only those.

  TEST_SOURCE  the source tree    DOOR_BUILD  directory for sources and build (default: temporary)

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("TEST_SOURCE", pathlib.Path(__file__).parents[2])).resolve()
TIMEOUT = 300

RING, ORDER = ["unit/preload/test_ring"], ["unit/model/test_model_order"]


def e2e(name, *tests, **env):
    """A test program of tests/e2e, or some tests of it."""
    return [f"test_{name}.py", *tests, env]


STRESS = e2e("stress", "Stress", TEST_ROUNDS="8", TEST_SEED="1")
REUSE = e2e("stress", "Reuse")
STUCK = e2e("stress", "Stuck")
STEPS = e2e("kill", "Steps")
KILLED = e2e("processes", "Processes."
             "test_child_that_is_killed_while_it_writes_the_trace_holds_nobody_up")

# name, sentence of the argument, file, what stands there, what instead, the test that must fail
ROWS = [
    ("release-after", "A call that gives memory up takes its slot before the system call.",
     "preload/call.c", "*ret = vt_kind_releases(c->kind) ? releasing(p, c) : taking(p, c);",
     "*ret = taking(p, c);", REUSE),
    ("take-before", "One that takes memory or changes it takes its slot after.",
     "preload/call.c", "*ret = vt_kind_releases(c->kind) ? releasing(p, c) : taking(p, c);",
     "*ret = releasing(p, c);", REUSE),
    ("tickets-unordered", "A slot's index is the call's place in the total order.",
     "preload/drain.c", "		else if (!force || !forsake(s, next, state))\n			break;",
     "		else if (!force || !forsake(s, next, state)) {}", RING),
    ("no-comparison", "Bytes that two calls changed at once are doubtful.",
     "preload/model/order.c", "	bool after = c->chosen && r->releases && r->covered;",
     "	return;\n	bool after = c->chosen && r->releases && r->covered;", ORDER),
    ("no-blur", "Boundaries and hidden flags of what both touched are undetermined.",
     "preload/model/order.c", "	return o->n_blurred ? doubt_blurred(o, m) : 0;", "	return 0;", ORDER),
    ("uncovered-release", "Of a release that covered the place and this call the order stands.",
     "preload/model/order.c",
     "		c->covered = certainly_mapped(o, m, empty(c->from) ? c->at : c->from);",
     "		c->covered = true;", ORDER),
    ("no-chosen-places", "A place that the kernel chose was free then.",
     "preload/model/order.c", "	bool after = c->chosen && r->releases && r->covered;",
     "	bool after = false;", ORDER),
    ("moves-forgotten", "What a move took away is doubtful at its new place.",
     "preload/model/order.c", "		doubt(o, r->at);\n		doubt(o, r->from);\n",
     "		doubt(o, r->from);\n", ORDER),
    ("moves-source", "How much a move took of a place that another call changed is doubtful.",
     "preload/model/order.c", "		doubt(o, r->at);\n		doubt(o, r->from);\n",
     "		doubt(o, r->at);\n", ORDER),
    ("release-cut", "A release may last longer than the process had lived.",
     "preload/model/order.c", "(index - 1) | -(uint64_t)releases", "index - 1", ORDER),
    ("forgotten-areas", "Of what was forgotten a call cannot tell where areas end.",
     "preload/model/order.c", "		if (i == o->cap - 1) {\n			doubt_range(o, c);",
     "		if (i == o->cap - 1) {\n			doubt_all(o, c);", ORDER),
    ("late-applied", "Late events are not applied to the model.",
     "preload/model/order.c", "	if (ev->flags & (VT_EV_LATE | VT_EV_UNDONE)) {",
     "	if (ev->flags & VT_EV_UNDONE) {", ORDER),
    ("no-flux", "A difference is believed only where nothing was under way.",
     "preload/flux.c", "		if (r->lo <= *lo && *lo < r->hi) {", "		if (0) {", STRESS),
    ("no-pending-flux", "A thread's pending record says what its call is about.",
     "preload/flux.c", "		bool back = add_pending(end_tick, &named) && own_back;",
     "		bool back = named = own_back;",
     e2e("stress", "Stress", TEST_ROUNDS="48", TEST_SEED="1")),
    ("handler-snapshot", "A snapshot in a handler knows of the call it has interrupted.",
     "preload/flux.c", "		none &= p == mine;",
     "		none &= p == mine;\n		if (p == mine)\n			continue;", e2e("stress", "Handlers")),
    ("never-given-up", "When the ring runs full, an announced call is given up.",
     "preload/drain.c", "	return atomic_compare_exchange_strong(&s->state, &expected, index << 2 | VT_SLOT_FREE);\n}",
     "	(void)expected;\n	return false;\n}", RING),
    ("owner-not-told", "Its owner finds out by a compare-and-swap before it writes the result.",
     "preload/ring.c", "	return atomic_compare_exchange_strong(&s->state, &expected, index << 2 | VT_SLOT_FINISHING);",
     "	atomic_store(&s->state, index << 2 | VT_SLOT_FINISHING);\n	return expected;", RING),
    ("late-not-entered", "It enters its event at a later place, marked late.",
     "preload/call.c", "		commit(p, c->kind, VT_EV_LATE, ret, index, end);", "", STUCK),
    ("forsaken-at-once", "An owner that waits for a processor keeps its place.",
     "preload/drain.c", "|| waited < STUCK_NS)", ")", RING),
    ("writer-forsaken", "Who is in the middle of writing is waited for.",
     "preload/drain.c", " || (waited < LOST_NS && vt_call_may_own(index)))", ")", RING),
    ("left-slot-reused", "A slot left in the middle is not used again before that owner is through.",
     "preload/ring.c", "!vt_slot_being_written(old) &&", "", RING),
    ("put-back", "A nested call saves the outer one and puts it back.",
     "preload/call.c", "	put_back(p, &outer);", "	(void)put_back;\n	clear(p);",
     e2e("signals", "Signals.test_ten_thousand_times_a_second")),
    ("signals-in-lock", "The recorder lock is taken only with all signals blocked.",
     "preload/lock.c", "	vt_sys4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, sizeof(old));",
     "	vt_sys4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, 0, &old, sizeof(old));\n	(void)all;",
     e2e("stress", "Handlers")),
    ("lock-not-tried", "The drain takes the lock only if nobody holds it.",
     "preload/lock.c", """	if (atomic_load_explicit(&vt.lock.state, memory_order_relaxed) != FREE)
		return;
	uint64_t mask = block_signals();
	uint32_t expected = FREE;
	if (atomic_compare_exchange_strong(&vt.lock.state, &expected,
					   (uint32_t)vt_sys0(SYS_gettid)))
""", "	uint64_t mask = block_signals();\n	atomic_store(&vt.lock.state, 1);\n", STRESS),
    ("helper-a-stranger", "The task that reads for the lock's holder is to everything its holder.",
     "preload/task.c", "	if (tid == atomic_load_explicit(&vt.helper, memory_order_relaxed))\n",
     "	if (0)\n", e2e("processes", "Processes.test_snapshots_of_memory_that_two_tasks_share")),
    ("holder-gone", "A task that dies under the lock holds nobody up.",
     "preload/lock.c", "ret == -ETIMEDOUT && has_left(word & HOLDER) &&", "0 && has_left(word) &&",
     KILLED),
    ("holder-not-reaped", "One that has ended has no memory, reaped or not.",
     "preload/lock.c", "	if (!atomic_load(&vt.sandboxed) &&\n	    guard_seen_by(",
     "	if (0 && guard_seen_by(", KILLED),
    ("torn-by-the-dead", "Nothing that it left torn is believed.",
     "preload/lock.c", "	if (vt_unlikely(take(&vt.lock)))\n", "	if (take(&vt.lock) && 0)\n", KILLED),
    ("same-depth", "What a handler has jumped away from is found by the next call at its depth.",
     "preload/stack.c", "	return there <= now ||", "	return there < now ||",
     e2e("signals", "Signals.test_handlers_that_jump_out_of_the_call_they_interrupted",
         TEST_SIGNALS_MS="2000")),
    ("on-the-callers-stack", "What needs more stack runs on one of ours.",
     "preload/lock.c", "	vt_on_stack(fn, arg, l->stack_top);\n	give(l);", "	fn(arg);\n	give(l);",
     e2e("beside", "Stacks.test_calls_from_small_stacks")),
    ("one-record-for-all", "On a borrowed thread pointer each call asks for its task's number.",
     "preload/task.c", "	if (tid == vt_self.tid)\n		return &vt_self;\n",
     "	if (tid)\n		return &vt_self;\n", e2e("processes",
         "Processes.test_task_that_shares_the_memory_records_into_its_parents_trace")),
    ("environment-kept", "Exec puts back what starts the recorder in the next image.",
     "preload/exec.c", "	*envp = (long)vt_env_hand_on((char *const *)*envp);\n", "	(void)envp;\n",
     e2e("processes", "Processes.test_exec_seals_the_trace_and_the_new_image_starts_another")),
    ("descriptor-left-open", "The trace's descriptor is closed before main.",
     "preload/store.c", "	vt_sys1(SYS_close, vt.fd);\n	vt.fd = -1;", "	vt.fd = -1;",
     e2e("harmless", "Harmless.test_program_that_closes_every_descriptor")),
    ("fork-guard", "A page with MADV_WIPEONFORK reads 0 in a new child.",
     "preload/process.c", "		if (vt_sys3(SYS_madvise, p, VT_PAGE_SIZE, MADV_WIPEONFORK))\n			return false;\n",
     "", e2e("processes", "Processes.test_fork", "Processes.test_forks_by_system_calls_that_nobody_sees")),
    ("torn-by-the-fork", "A fork may have caught somebody in a change: the child believes no table.",
     "preload/process.c", "	bool usable = *(bool *)whole && ", "	(void)whole;\n	bool usable = ",
     e2e("processes", "Processes.test_forks_in_the_middle_of_writing_the_trace")),
    ("child-in-a-wrapper", "A child that comes back into a wrapper enters the event in its own trace.",
     "preload/call.c", "	return !atomic_load_explicit(vt.fork_guard, memory_order_relaxed);",
     "	return false;",
     e2e("processes", "Processes.test_fork_in_a_handler_that_interrupts_a_call")),
    ("region-inherited", "The live region is MADV_DONTFORK.",
     "preload/store.c", "	vt_own_madvise((void *)p, size, MADV_DONTFORK);\n	if (vt.n_own <",
     "	if (vt.n_own <",
     e2e("processes", "Processes.test_fork")),
    ("exit-not-drained", "Before exit everything is drained: announced calls are given up.",
     "preload/process.c",
     ["		if (atomic_load(&vt.drained) != drained)\n			tries = 0;",
      "	vt_snapshot(VT_SNAPSHOT_EXIT);\n	vt_drain(true);\n"],
     ["		break;", "	vt_snapshot(VT_SNAPSHOT_EXIT);\n"],
     e2e("stress", "Stuck.test_at_the_end_what_stands_behind_it_is_not_lost")),
    ("no-last-snapshot", "Before exit a last snapshot is taken.",
     "preload/process.c", "	vt_snapshot(VT_SNAPSHOT_EXIT);\n", "", e2e("preload")),
    ("away-not-entered", "A call that is in the kernel at the end is entered as undone.",
     "preload/process.c", "	vt_call_enter_those_away();\n", "",
     e2e("stress", "Stuck.test_who_is_back_after_the_end_of_the_process_writes_to_nowhere")),
    ("region-not-replaced", "At exit plain memory takes the live region's place.",
     "preload/store.c", "	long a = vt_sys6(SYS_mmap, (long)vt.live, (long)live, PROT_READ | PROT_WRITE,"
     " flags, -1, 0);", "	long a = 0;\n	(void)live;",
     e2e("stress", "Stuck.test_who_is_back_after_the_end_of_the_process_writes_to_nowhere")),
    ("committed-early", "An event is believed when one store commits it: nothing of it comes later.",
     "preload/call.c", "	fill(s, p, kind, flags);\n	s->ret = ret;",
     "	vt_slot_done(s, index);\n	fill(s, p, kind, flags);\n	s->ret = ret;", STEPS),
    ("announced-early", "A call is announced when all of it is written.",
     "preload/call.c", "		fill(s, p, c->kind, 0);\n		vt_slot_begin(s, index);",
     "		vt_slot_done(s, index);\n		fill(s, p, c->kind, 0);\n		vt_slot_begin(s, index);", STEPS),
    ("frame-after", "A frame is written before frames_end moves.",
     "preload/store.c", "	memcpy(vt.window + (at - vt.window_off), &f, sizeof(f));\n",
     "	atomic_store(&vt.header->frames_end, end);\n"
     "	memcpy(vt.window + (at - vt.window_off), &f, sizeof(f));\n", STEPS),
    ("slots-free-early", "Slots are used again only after frames_end has moved.",
     "preload/drain.c", "	uint32_t n = (uint32_t)vt.chunk.n_events;\n",
     "	uint32_t n = (uint32_t)vt.chunk.n_events;\n"
     "	atomic_store(&vt.sealed, atomic_load(&vt.drained));\n", RING),
    ("counted-twice", "An event is in a frame or in a slot, never counted twice.",
     "preload/store.c", "		.ring_next = atomic_load(&vt.drained),",
     "		.ring_next = atomic_load(&vt.sealed),", e2e("kill", "Kill", TEST_KILLS="16", TEST_SEED="1")),
    ("blocks-not-there", "Blocks are allocated in advance: a full disk is no SIGBUS here.",
     "preload/store.c", "	long ret = vt_own_madvise(at, size, MADV_POPULATE_WRITE);",
     "	(void)at;\n	(void)size;\n	long ret = 0;", e2e("harmless", "Harmless.test_disk_that_fills_up")),
    ("shared-descriptors", "What needs a descriptor happens in a task with an empty table of its own.",
     "preload/outside.c", "	if (vt_sys3(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) == 0 ||\n"
     "	    vt_sys1(SYS_unshare, CLONE_FILES) == 0)\n", "", e2e("harmless",
         "Harmless.test_no_descriptor_of_ours_is_met_while_the_kernels_view_is_read")),
    ("rules-kept", "Code that is mapped where some rule was for ends all rules.",
     "preload/walk.c", "	if (known)\n", "	if (known && !len)\n",
     e2e("programs", "Programs.test_stacks_through_code_that_took_the_place_of_other_code")),
    ("seccomp", "Before a seccomp filter a last snapshot is taken; then nothing is opened.",
     "preload/sandbox.c", "		atomic_store(&vt.sandboxed, true);\n	}\n}", "	}\n}", e2e("harmless", "Harmless.test_seccomp_filter_that_forbids_open")),
    ("one-shot", "A handler set with SA_RESETHAND is entered through vt_fault_once.",
     "preload/fault.c", "	if (keep && is_one_shot(r->new)) {",
     "	if (0) {", e2e("faults", "Oneshot")),
    ("one-shot-registers", "The program's handler is jumped to with the registers as they were.",
     "preload/thunk.S", "	pxor %xmm\\n, %xmm\\n\n", "	pcmpeqd %xmm\\n, %xmm\\n\n", e2e("faults", "Oneshot")),
    ("one-shot-twice", "The first to come there takes the handler.",
     "preload/fault.c", "	bool won = atomic_exchange(&once->armed, false);",
     "	bool won = true;\n	atomic_exchange(&once->armed, false);", e2e("faults", "Oneshot")),
    ("one-shot-stays", "Our handler is put where SIG_DFL would be.",
     "preload/fault.c", "	faults.view[sig].handler = (uint64_t)SIG_DFL;\n	install(sig);\n}",
     "	faults.view[sig].handler = (uint64_t)SIG_DFL;\n	set(sig, &faults.view[sig], NULL);\n}",
     e2e("faults", "Oneshot")),
    ("one-shot-vfork", "A vfork child has actions of its own.",
     "preload/fault.c", "	if (!fresh && !vt_is_mine()) {", "	if (0) {", e2e("faults", "Oneshot")),
    ("wait-not-told", "`record` is told by wait, and the trace then says so.",
     "analyzer/trace_seal.c", "	if (known)\n		n += put_told", "	if (0)\n		n += put_told",
     e2e("faults", "Ending")),
    ("overflow-likely", "The reader calls an overflow likely where the program does not handle SIGSEGV.",
     "preload/fault.c", "	vt_note(\"handles\", watched_name(sig));", "	(void)watched_name(sig);",
     e2e("faults", "Ending")),
    ("later-unsearched", "What is loaded later is changed in the loader's own call that maps its text.",
     "preload/inner.c", "		vt_inline_mapped((uint64_t)ret, (uint64_t)b, (int)e, (uint64_t)f);",
     "		(void)0;", e2e("loaded", "Loaded.test_every_layout_of_a_library_while_threads_call_another")),
    ("any-caller", "Only calls from inside the loader's text count.",
     "preload/inner.c", "	if (vt_unlikely(site_end - vt.loader.lo < vt.loader.hi - vt.loader.lo))",
     "	(void)site_end;\n	if (1)",
     e2e("loaded", "Loaded.test_code_that_is_not_the_loaders_stays_as_it_is")),
    ("relocated-code", "Code that the loader is to relocate is left alone.",
     "preload/inline.c", "		relocated |= ", "		relocated = relocated && ",
     e2e("loaded", "Loaded.test_code_that_is_still_to_be_relocated_is_left_alone")),
    ("stubs-kept", "The stubs of a library are used again when the loader unmaps it.",
     "preload/inline.c", "	vt_stub_forget(at, at + len);", "	(void)at, (void)len;",
     e2e("loaded", "Loaded.test_loaded_and_unloaded_a_thousand_times")),
    ("text-through-its-mapping", "A large text is read from its file: resident memory stays what it was.",
     "preload/inline.c", "	enum looked looked = fd < 0 ? OTHER_FILE : look_in_file(fd, file_offset);",
     "	(void)look_in_file;\n	(void)file_offset;\n	enum looked looked = fd < 0 ? OTHER_FILE : OTHER_FILE;",
     e2e("loaded", "Loaded.test_a_large_text_does_not_become_resident")),
    ("cache-believed", "An offset is judged by the code as if it had just been found.",
     "preload/inline.c", "		if (job.found.call[i] > size - VT_SYSCALL_LEN || call[0]", "		if (call[0]",
     e2e("loaded", "Loaded.test_a_text_is_searched_once")),
    ("branches-unseen", "No branch nearby may lead behind the mov.",
     "preload/inline_site.c", " && may_begin_at(p, s, m))", " && !may_begin_at(p, s, m))",
     e2e("programs", "Programs.test_system_call_instructions_of_the_program_itself")),
    ("bounds-unknown", "Where a register keeps the number, .eh_frame tells where the function begins.",
     "preload/inline_bounds.c", "	return m->segments ? find_in_file(m, (uint64_t)at, lo, hi)\n"
     "			   : vt_cfi", "	(void)find_in_file;\n	return vt_cfi",
     e2e("loaded", "Loaded.test_every_layout_of_a_library_while_threads_call_another")),
    ("nothing-remembered", "What was found is kept in a file that recorded processes share.",
     "preload/inline.c", "	if (!*job.key || !vt_known_find(job.key, &job.found)) {", "	if (1) {",
     e2e("loaded", "Loaded.test_a_text_is_searched_once")),
    ("altstack-told", "sigaltstack is told what the thread would have without.",
     "preload/altstack.c", "	r.alt = ours(&now);", "	r.alt = NULL;", e2e("faults", "Overflow")),
    ("altstack-refused", "While a handler runs on ours, a change is made from the lock's stack.",
     "preload/altstack.c", "	vt_locked(change, &r);", "	change(&r);", e2e("faults", "Overflow")),
    ("altstack-early", "A thread is given one as it begins.",
     "preload/task.c", "	if (vt.options.faults == VT_FAULTS_OVERFLOW && atomic_load(&vt.on) &&",
     "	if (0 && atomic_load(&vt.on) &&", e2e("faults", "Overflow")),
    ("altstack-kept", "The stack of a thread that is gone is given to the next.",
     "preload/altstack.c", "		if (vt_is_gone(vt.pid, alts.hand->tid))", "		if (0)",
     e2e("faults", "Overflow")),
    ("altstack-childs", "A forked child's one thread keeps its parent's before another can be made.",
     "preload/process.c", "	vt_altstack_give();", "", e2e("faults", "Overflow")),
    ("window-moves", "What grows, grows where it stands: the window.",
     "preload/store.c", "	if (vt.window_off + size < end || vt_is_error(vt_own_call(VT_MREMAP, SYS_mremap, a)))",
     "	(void)a;\n	if (size)", e2e("limits", "Brim.test_areas_exhausted")),
    ("arena-moves", "What grows, grows where it stands: the arena.",
     "preload/arena.c", "	if (vt.last_window || vt_is_error(vt_own_call(VT_MREMAP, SYS_mremap, a)))",
     "	(void)a;\n	if (size)", e2e("limits", "Brim.test_areas_exhausted")),
    ("nothing-kept", "The last of the memory is kept for threads and for exec.",
     "preload/arena.c", "	if (vt_arena_reserve(bytes + KEPT))", "	if (vt_arena_reserve(bytes + 15))",
     e2e("limits", "Brim.test_no_byte_of_data_left")),
    ("file-untold", "A file that cannot be remembered is told all the same.",
     "preload/files.c", ".id = ++vt.n_files };", ".id = 0 };",
     e2e("limits", "Brim.test_no_byte_of_data_left")),
    ("refused-frame", "What a refused frame would have held stands in the live region.",
     "preload/drain.c", "cuts, n_cuts)) {\n		vt_end_for_lack_of_room();\n		return;\n",
     "cuts, n_cuts)) {\n		vt_end_for_lack_of_room();\n",
     e2e("harmless", "Harmless.test_file_size_limit_that_ends_the_trace_among_new_files")),
]

# Sentences of the argument that have no row, and why.
WITHOUT = [
    ("A slot's index is in the record before the slot is taken.",
     "a window of two instructions: tests/programs/signals.c meets it too seldom"),
    ("The lock is held across a system call that forks and is seen.",
     "without it the child begins as in torn-by-the-fork: births are forgotten, nothing is wrong"),
    ("The return address waits in a register where a task gets another stack.",
     "without it no thread runs at all"),
    ("Redirected text keeps every register, and is left alone in any doubt.",
     "tests/programs/inline.c and the unit tests of each refusal"),
    ("A handler of ours stands only where the action is SIG_DFL, and the program cannot tell.",
     "tests/e2e/test_faults.py compares answers, core files and the kernel's log"),
    ("libunwind's idea of a full signal mask is mended.", "used on aarch64 only"),
]


def copy_sources(to):
    files = subprocess.run(["git", "-C", SOURCE, "ls-files", "-co", "--exclude-standard"], check=True,
                           capture_output=True, text=True).stdout.split()
    for name in files:
        if (SOURCE / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCE / name, to / name)


class Door:
    def __init__(self, directory):
        self.tree, self.build = directory / "source", directory / "build"
        copy_sources(self.tree)
        self.quiet("meson", "setup", self.build, self.tree, "--buildtype=release", "-Doptimization=1",
                   "-Dwerror=false")
        self.make()
        self.env = dict(os.environ, TEST_VMTRAIL=str(self.build / "analyzer/vmtrail"),
                        TEST_LIBRARY=str(self.build / "preload/libvmtrail.so"),
                        TEST_PROGRAMS=str(self.build / "tests/programs"),
                        TEST_BUILD=str(self.build), PYTHONDONTWRITEBYTECODE="1")

    def quiet(self, *argv):
        result = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(f"door: {argv}: {result.stdout}{result.stderr}")

    def make(self):
        self.quiet("ninja", "-C", self.build)

    def passes(self, test):
        """Whether a test passes; one that hangs does not."""
        env = self.env
        if test[0].endswith(".py"):
            *argv, more = test
            argv = [sys.executable, self.tree / "tests/e2e" / argv[0], *argv[1:], "-f"]
            env = {**env, **more}
        else:
            argv = [self.build / "tests" / test[0]]
        process = subprocess.Popen([str(a) for a in argv], env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            return process.wait(TIMEOUT) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
            process.wait()

    def survives(self, file, old, new, test):
        path = self.tree / file
        text = changed = path.read_text()
        for piece, other in zip(*([t] if isinstance(t, str) else t for t in (old, new))):
            if changed.count(piece) != 1:
                raise SystemExit(f"door: {file}: {changed.count(piece)} times, not once: {piece}")
            changed = changed.replace(piece, other)
        path.write_text(changed)
        try:
            self.make()
            return self.passes(test)
        finally:
            path.write_text(text)


def title(test):
    return " ".join(str(part) for part in test if not isinstance(part, dict))


def main():
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    rows = [r for r in ROWS if not wanted or r[0] in wanted]
    if "--list" in sys.argv:
        for name, sentence, file, _, _, test in rows:
            print(f"| {sentence} | {file} | {title(test)} | {name} |")
        for sentence, reason in WITHOUT:
            print(f"| {sentence} | | | none: {reason} |")
        return 0
    with tempfile.TemporaryDirectory(prefix="vmtrail-door-") as temporary:
        door = Door(pathlib.Path(os.environ.get("DOOR_BUILD") or temporary))
        for test in {title(row[5]): row[5] for row in rows}.values():
            if not door.passes(test):
                raise SystemExit(f"door: {title(test)} fails with nothing taken out")
        survived = 0
        for name, sentence, file, old, new, test in rows:
            began = time.monotonic()
            lives = door.survives(file, old, new, test)
            survived += lives
            print(f"{'SURVIVED' if lives else 'broken'}  {name}: {title(test)} "
                  f"({time.monotonic() - began:.0f} s)\n    {sentence}", flush=True)
        print(f"{len(rows)} mechanisms, {survived} that no test misses")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
