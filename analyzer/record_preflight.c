/*
 * record_preflight.c - what cannot be preloaded: static, set-user-ID, foreign programs.
 *
 * Reads the first bytes of files and their attributes, as the kernel's exec would; starts nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vmtrail/abi.h>

/* The kernel reads this much of a file to find out what it is, and follows this many scripts. */
#define HEAD_SIZE   256
#define MAX_SCRIPTS 5

#if defined(__x86_64__)
#define HOST_MACHINE EM_X86_64
#define HOST_NAME    "x86-64"
#elif defined(__aarch64__)
#define HOST_MACHINE EM_AARCH64
#define HOST_NAME    "AArch64"
#else
#error "no recorder for this architecture"
#endif

static bool refuse(char **why, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool refuse(char **why, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	if (vasprintf(why, format, args) < 0)
		*why = NULL;
	va_end(args);
	return false;
}

static bool is_executable_file(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The command's file: as given when it has a slash, else the first one in PATH. */
static bool find_command(const char *command, char **file, char **why)
{
	struct stat st;
	if (strchr(command, '/')) {
		if (stat(command, &st) != 0)
			return refuse(why, "%s: %s", command, strerror(errno));
		if (S_ISDIR(st.st_mode))
			return refuse(why, "%s: is a directory", command);
		if (!is_executable_file(command))
			return refuse(why, "%s: not executable", command);
		*file = strdup(command);
		return *file || refuse(why, "out of memory");
	}
	const char *path = getenv("PATH");
	char standard[256];
	if (!path) {
		confstr(_CS_PATH, standard, sizeof(standard));
		path = standard;
	}
	while (*command) {
		size_t n = strcspn(path, ":");
		/* an empty entry is the current directory */
		if (asprintf(file, "%.*s%s%s", (int)n, path, n ? "/" : "./", command) < 0)
			return refuse(why, "out of memory");
		if (is_executable_file(*file))
			return true;
		free(*file);
		*file = NULL;
		if (!path[n])
			break;
		path += n + 1;
	}
	return refuse(why, "%s: command not found", command);
}

/* Whether exec would raise privileges, which makes the loader ignore LD_PRELOAD (AT_SECURE). */
static bool raises_privileges(const char *path, char **why)
{
	struct stat st;
	struct statvfs vfs;
	if (stat(path, &st) != 0)
		return false;
	bool ignored = (statvfs(path, &vfs) == 0 && (vfs.f_flag & ST_NOSUID)) ||
		       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
	if (ignored)
		return false;
	/* without a change of identity there is nothing to protect: a root shell may preload su */
	if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
		return !refuse(why, "%s: set-user-ID program: the loader would ignore the library",
			       path);
	if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid())
		return !refuse(why, "%s: set-group-ID program: the loader would ignore the library",
			       path);
	if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
		return !refuse(
		    why, "%s: has file capabilities: the loader would ignore the library", path);
	return false;
}

static const char *machine_name(const unsigned char *head)
{
	static const struct {
		uint16_t machine;
		const char *name;
	} names[] = {
		{ EM_386, "i386" },         { EM_X86_64, "x86-64" },  { EM_ARM, "ARM" },
		{ EM_AARCH64, "AArch64" },  { EM_RISCV, "RISC-V" },   { EM_PPC64, "PowerPC 64" },
		{ EM_S390, "S/390" },       { EM_MIPS, "MIPS" },      { EM_LOONGARCH, "LoongArch" },
		{ EM_SPARCV9, "SPARC V9" }, { EM_PARISC, "PA-RISC" },
	};
	bool big = head[EI_DATA] == ELFDATA2MSB;
	uint16_t machine =
	    big ? (uint16_t)(head[18] << 8 | head[19]) : (uint16_t)(head[19] << 8 | head[18]);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].machine == machine)
			return names[i].name;
	return "another architecture";
}

/* The dynamic loader that an ELF file names; "" when it names none. False: *why is set. */
static bool read_interpreter(const char *path, int fd, char *interp, size_t size, char **why)
{
	Elf64_Ehdr eh;
	*interp = '\0';
	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || eh.e_phentsize != sizeof(Elf64_Phdr))
		return refuse(why, "%s: damaged ELF file", path);
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;
		off_t at = (off_t)(eh.e_phoff + i * sizeof(ph));
		if (at < 0 || pread(fd, &ph, sizeof(ph), at) != sizeof(ph))
			return refuse(why, "%s: damaged ELF file", path);
		if (ph.p_type != PT_INTERP)
			continue;
		if (ph.p_filesz < 2 || ph.p_filesz > size ||
		    pread(fd, interp, ph.p_filesz, (off_t)ph.p_offset) != (ssize_t)ph.p_filesz)
			return refuse(why, "%s: damaged ELF file", path);
		interp[ph.p_filesz - 1] = '\0';
		return true;
	}
	return true;
}

static bool check_elf(const char *path, int fd, const unsigned char *head, char **why)
{
	char interp[4096];
	if (head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB ||
	    (head[19] << 8 | head[18]) != HOST_MACHINE)
		return refuse(why,
			      "%s: a %s-bit %s program; only " HOST_NAME " ones can be recorded",
			      path, head[EI_CLASS] == ELFCLASS32 ? "32" : "64", machine_name(head));
	if (!read_interpreter(path, fd, interp, sizeof(interp), why))
		return false;
	if (!*interp)
		return refuse(why, "%s: statically linked: nothing can be preloaded", path);
	const char *slash = strrchr(interp, '/');
	const char *name = slash ? slash + 1 : interp;
	if (strncmp(name, "ld-linux", 8) != 0)
		return refuse(why, "%s: uses another libc than glibc (loader %s)", path, interp);
	if (access(interp, X_OK) != 0)
		return refuse(why, "%s: its loader %s: %s", path, interp, strerror(errno));
	return true;
}

/* The interpreter named in a script's first line, malloc'ed. */
static char *script_interpreter(const char *head)
{
	const char *p = head + 2;
	p += strspn(p, " \t");
	size_t n = strcspn(p, " \t\n");
	return n ? strndup(p, n) : NULL;
}

enum file_type { FILE_REFUSED, FILE_PROGRAM, FILE_SCRIPT };

/* What a file's first bytes make it; *next is a script's interpreter, malloc'ed. */
static enum file_type check_content(const char *path, int fd, char **next, char **why)
{
	char head[HEAD_SIZE + 1] = { 0 };
	ssize_t n = pread(fd, head, HEAD_SIZE, 0);
	if (n < 0)
		refuse(why, "%s: %s", path, strerror(errno));
	else if (n >= 20 && memcmp(head, ELFMAG, SELFMAG) == 0)
		return check_elf(path, fd, (unsigned char *)head, why) ? FILE_PROGRAM
								       : FILE_REFUSED;
	else if (n > 2 && head[0] == '#' && head[1] == '!')
		*next = script_interpreter(head);
	else if (strlen(head) < (size_t)n)
		refuse(why, "%s: neither an ELF program nor a script", path);
	else /* as execvp(3) does */
		*next = strdup("/bin/sh");
	if (!*next && !*why)
		refuse(why, "%s: a script that names no interpreter", path);
	return *next ? FILE_SCRIPT : FILE_REFUSED;
}

static enum file_type check_file(const char *path, char **next, char **why)
{
	*next = NULL;
	if (raises_privileges(path, why))
		return FILE_REFUSED;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		refuse(why, "%s: cannot look into it: %s", path, strerror(errno));
		return FILE_REFUSED;
	}
	enum file_type type = check_content(path, fd, next, why);
	close(fd);
	if (type == FILE_SCRIPT && access(*next, X_OK) != 0) {
		refuse(why, "%s: its interpreter %s: %s", path, *next, strerror(errno));
		free(*next);
		return FILE_REFUSED;
	}
	return type;
}

bool vt_record_preflight(const char *command, char **file, char **executable, char **why)
{
	*file = *executable = *why = NULL;
	if (!find_command(command, file, why))
		return false;
	char *path = strdup(*file), *next;
	for (int scripts = 0; path; scripts++) {
		enum file_type type = check_file(path, &next, why);
		if (type == FILE_PROGRAM)
			*executable = realpath(path, NULL);
		free(path);
		if (type != FILE_SCRIPT)
			break;
		path = next;
		if (scripts == MAX_SCRIPTS) {
			refuse(why, "%s: scripts interpreting scripts without end", command);
			free(path);
			break;
		}
	}
	if (*executable)
		return true;
	free(*file);
	*file = NULL;
	return *why ? false : refuse(why, "out of memory");
}
