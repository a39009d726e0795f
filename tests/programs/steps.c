/*
 * steps.c - looks at a trace after every single instruction of the process that writes it: what is
 * there is what a SIGKILL at that instant would leave.
 *
 *   steps FILE CALLS LIBRARY
 *
 * A child maps and unmaps; its parent single-steps it and checks, each time one of the words that
 * commit something has changed: an event that is done holds what the call was about; a frame that
 * is counted is whole; every call is in a frame or in a slot, and none before its turn is missing;
 * a call that is back in the program has its event. Prints how many instants were looked at.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <vmtrail/event.h>
#include <vmtrail/format.h>

#include "program.h"

/* Shared with the child: calls that are back. */
static struct progress {
	volatile uint64_t calls;
} * progress;

static const struct vt_trace_header *header;
static const struct vt_live *live;
static const struct vt_slot *ring;
static const char *frames;
static uint64_t first_index, steps;

static void fail(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "after %llu instructions and %llu calls: %s (%llu, %llu)\n",
		(unsigned long long)steps, (unsigned long long)progress->calls, what,
		(unsigned long long)a, (unsigned long long)b);
	exit(1);
}

/* The child's n-th pair of calls is about 1 + n % 60 pages. */
static void call_for_ever(void)
{
	for (uint64_t i = 0;; i += 2) {
		size_t length = (1 + i / 2 % 60) * PAGE;
		char *p = map_anywhere(length);
		progress->calls++;
		CHECK(!munmap(p, length));
		progress->calls++;
	}
}

static void open_trace(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && !fstat(fd, &st));
	const char *all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(all != MAP_FAILED);
	header = (const void *)all;
	live = (const void *)(all + header->live_off);
	ring = (const void *)(all + header->live_off + VT_LIVE_HEAD + header->journal_size);
	frames = all;
	close(fd);
}

/* Walk the frames: each is whole. Returns the index of the first event that none of them holds. */
static uint64_t check_frames(void)
{
	static uint64_t at, next = 1, number;
	uint64_t end = header->frames_end;

	for (at = at ? at : header->frames_off; at < end; number++) {
		const struct vt_frame *f = (const void *)(frames + at);
		if (f->magic != VT_FRAME_MAGIC || f->number != number)
			fail("a frame that is counted is not there", at, end);
		uint32_t crc = vt_crc32(0, f, offsetof(struct vt_frame, crc));
		if (vt_crc32(crc, f + 1, f->stored_len) != f->crc)
			fail("a frame that is counted is not whole", at, end);
		next = f->ring_next;
		at += sizeof(*f) + f->stored_len;
	}
	if (at != end)
		fail("frames end in the middle of one", at, end);
	return next;
}

static void check_event(const struct vt_slot *s, uint64_t index)
{
	if (s->flags & VT_EV_OWN || (s->kind != VT_MMAP && s->kind != VT_MUNMAP))
		return;
	bool plausible = s->a[1] && s->a[1] <= 60 * PAGE && s->begin_tick <= s->end_tick;
	if (s->kind == VT_MMAP && (!s->ret || s->a[0]))
		plausible = false;
	if (s->kind == VT_MUNMAP && (s->ret || !s->a[0]))
		plausible = false;
	if (!plausible)
		fail("an event that is done is not what the call was", index, s->kind);
}

/* What the live region holds beyond the frames. */
static void check(void)
{
	uint64_t from = check_frames(), head = live->ring_head, slots = header->ring_slots;

	if (head - from > slots)
		fail("slots were used again before a frame held them", from, head);
	uint64_t done = 0;
	for (uint64_t i = from; i < head; i++) {
		const struct vt_slot *s = &ring[i & (slots - 1)];
		if (s->state != (i << 2 | VT_SLOT_DONE)) {
			if (i + 1 < head)
				fail("a call is neither in a frame nor in its slot", i, s->state);
			break;
		}
		check_event(s, i);
		done = i;
	}
	/* own events count too: there are at least as many places as calls */
	if (done && done < first_index + progress->calls - 1)
		fail("a call is back and not in the trace", done, progress->calls);
}

static bool changed(void)
{
	static uint64_t seen[4];
	uint64_t head = live->ring_head;
	const uint64_t now[4] = { header->frames_end, head, progress->calls,
				  ring[(head - 1) & (header->ring_slots - 1)].state };

	if (!memcmp(seen, now, sizeof(now)))
		return false;
	memcpy(seen, now, sizeof(now));
	return true;
}

/* Follow the child instruction by instruction through that many calls. */
static void step_through(pid_t pid, uint64_t calls)
{
	int status;

	while (progress->calls < calls) {
		CHECK(!ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
		CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
		CHECK(WSTOPSIG(status) == SIGTRAP);
		if (changed())
			check();
		steps++;
	}
	CHECK(!kill(pid, SIGKILL) && waitpid(pid, &status, 0) == pid);
}

/* steps FILE CALLS child FD: what is recorded. Stops once, then calls. */
static int child(char **argv)
{
	progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[4]), 0);
	CHECK(progress != MAP_FAILED && !ptrace(PTRACE_TRACEME, 0, 0, 0) && !raise(SIGSTOP));
	call_for_ever();
	return 0;
}

int main(int argc, char **argv)
{
	char number[16];

	if (argc > 4)
		return child(argv);
	CHECK(argc == 4);
	/* each step is two switches: on one processor, before others if we may */
	cpu_set_t here;
	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
	sched_setscheduler(0, SCHED_RR, &(struct sched_param){ .sched_priority = 1 });
	int fd = memfd_create("progress", 0), status;
	CHECK(fd >= 0 && !ftruncate(fd, PAGE));
	progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(progress != MAP_FAILED);
	snprintf(number, sizeof(number), "%d", fd);
	pid_t pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", argv[3], 1);
		setenv("VMTRAIL_OUTPUT", argv[1], 1);
		execl(argv[0], argv[0], argv[1], argv[2], "child", number, (char *)NULL);
		_exit(99);
	}
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	open_trace(argv[1]);
	first_index = live->ring_head;
	step_through(pid, strtoul(argv[2], NULL, 0));
	say("%llu instants, %llu calls\n", (unsigned long long)steps,
	    (unsigned long long)progress->calls);
	return 0;
}
