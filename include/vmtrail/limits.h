/*
 * limits.h - what the kernel would refuse under given limits and a given overcommit policy.
 *
 * Asked of the model before and after an event is applied; changes nothing. Only limits that are
 * set are looked at. Pages unless said otherwise.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_LIMITS_H
#define VMTRAIL_LIMITS_H

#include <vmtrail/model.h>

#define VT_NO_LIMIT UINT64_MAX

/* Who says no: kernel function, what is limited. */
#define VT_RULES(X)                                                                                \
	X(NONE, "", "")                                                                            \
	X(EXPAND_AS, "may_expand_vm", "RLIMIT_AS")                                                 \
	X(EXPAND_DATA, "may_expand_vm", "RLIMIT_DATA")                                             \
	X(BRK_DATA, "check_data_rlimit", "RLIMIT_DATA")                                            \
	X(CAN_MLOCK, "can_do_mlock", "RLIMIT_MEMLOCK")                                             \
	X(MLOCK, "do_mlock", "RLIMIT_MEMLOCK")                                                     \
	X(MLOCK_FUTURE, "mlock_future_ok", "RLIMIT_MEMLOCK")                                       \
	X(STACK, "acct_stack_growth", "RLIMIT_STACK")                                              \
	X(MAP_COUNT, "map_count", "vm.max_map_count")                                              \
	X(COMMIT, "__vm_enough_memory", "vm.overcommit_memory")

enum vt_rule {
#define VT_RULE_ENUM(e, ...) VT_RULE_##e,
	VT_RULES(VT_RULE_ENUM)
#undef VT_RULE_ENUM
	    VT_RULE_COUNT
};

struct vt_rule_info {
	const char *function, *limit;
};
extern const struct vt_rule_info vt_rules[VT_RULE_COUNT];

enum vt_overcommit { VT_OVERCOMMIT_GUESS, VT_OVERCOMMIT_ALWAYS, VT_OVERCOMMIT_NEVER };

struct vt_limits {
	uint64_t as, data, memlock, stack; /* bytes; VT_NO_LIMIT: not looked at */
	uint64_t max_map_count;            /* areas; VT_NO_LIMIT: not looked at */

	bool commit; /* look at the commit charge: all that follows, pages */
	enum vt_overcommit overcommit;
	uint64_t ram, huge, swap; /* of the machine; huge: set aside for huge pages, of ram */
	uint64_t ratio;           /* percent */
	uint64_t allowed;         /* vm.overcommit_kbytes; 0: by ratio */
	uint64_t admin_reserve, user_reserve;

	bool ipc_lock, sys_admin;   /* CAP_IPC_LOCK, CAP_SYS_ADMIN */
	uint64_t data_segment;      /* bytes: end_data - start_data, what brk's limit counts, too */
	struct vt_totals leave_out; /* of the model's counters: the recorder's own */
	uint64_t others;            /* charged to other processes */
	uint64_t shared;            /* charged for this process's shared anonymous memory */
};

/* A call that would fail. Pages; areas for MAP_COUNT. */
struct vt_refusal {
	enum vt_rule rule;
	int error; /* positive; 0: no error but SIGSEGV, where a stack cannot grow */
	uint64_t counted, asked, limit;
};

/* vm_commit_limit and what __vm_enough_memory holds back from this process: pages. */
uint64_t vt_commit_limit(const struct vt_model *m, const struct vt_limits *l);

/*
 * Whether the kernel would refuse ev, which has not been applied yet. A call that only splits areas
 * is judged by vt_limits_refuse_split, afterwards.
 */
bool vt_limits_refuse(const struct vt_model *m, const struct vt_limits *l,
		      const struct vt_event *ev, struct vt_refusal *why);

/*
 * Whether split_vma would have refused ev, which has just been applied to a model that had
 * map_count areas before.
 */
bool vt_limits_refuse_split(const struct vt_model *m, const struct vt_limits *l,
			    const struct vt_event *ev, uint64_t map_count, struct vt_refusal *why);

#endif
