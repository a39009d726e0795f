#!/bin/sh
# From a fresh Debian 12 to a result in one command: what is needed, the build, the demo, the tests.
# Each command can be repeated; root is only needed to install packages that are missing.
#
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")"

usage="usage: sh bootstrap.sh deps|cross-deps|build|demo|test
  deps   install the packages that the build and the tests need
  cross-deps
         and those of the test that builds for aarch64: adds that architecture to dpkg
  build  release build in build/
  demo   build, record a Python program, print the report, verify the trace
  test   build, run every test; the last line is 'N passed, M failed'"

# PACKAGE PROBE: a command in PATH, a module that pkg-config knows, a library that the loader knows,
# or a file.
build_needs='
gcc             command:gcc
libc6-dev       file:/usr/include/stdio.h
meson           command:meson
ninja-build     command:ninja
pkg-config      command:pkg-config
libzstd-dev     module:libzstd
uthash-dev      file:/usr/include/uthash.h
libdw-dev       module:libdw
libjson-c-dev   module:json-c
libiberty-dev   file:/usr/include/libiberty/demangle.h
python3         command:python3
'
test_needs='
libcmocka-dev           module:cmocka
g++                     command:g++
gdb                     command:gdb
golang-go               command:go
git                     command:git
strace                  command:strace
nodejs                  command:node
openjdk-17-jre-headless command:java
redis-server            command:redis-server
redis-tools             command:redis-benchmark
postgresql              command:pgbench
chromium                command:chromium
libjemalloc2            library:libjemalloc.so.2
libtcmalloc-minimal4    library:libtcmalloc_minimal.so.4
libmimalloc2.0          library:libmimalloc.so.2
'

cross_needs='
gcc-aarch64-linux-gnu command:aarch64-linux-gnu-gcc
qemu-user-static      command:qemu-aarch64-static
libunwind-dev:arm64   file:/usr/lib/aarch64-linux-gnu/pkgconfig/libunwind.pc
libzstd-dev:arm64     file:/usr/lib/aarch64-linux-gnu/pkgconfig/libzstd.pc
libdw-dev:arm64       file:/usr/lib/aarch64-linux-gnu/pkgconfig/libdw.pc
libjson-c-dev:arm64   file:/usr/lib/aarch64-linux-gnu/pkgconfig/json-c.pc
libiberty-dev:arm64   file:/usr/lib/aarch64-linux-gnu/libiberty.a
'

fail()
{
	echo "bootstrap.sh: $1" >&2
	exit 1
}

present()
{
	case $1 in
	command:*) command -v "${1#*:}" >/dev/null 2>&1 ;;
	library:*) PATH=$PATH:/sbin ldconfig -p | grep -qF "${1#*:}" ;;
	module:*) pkg-config --exists "${1#*:}" 2>/dev/null ;;
	file:*) [ -e "${1#*:}" ] ;;
	esac
}

# The packages of table $1 whose probe fails.
missing()
{
	echo "$1" | while read -r package probe; do
		[ -z "$package" ] || present "$probe" || printf ' %s' "$package"
	done
}

# Run a command with its output in a log, which is shown only if the command fails.
quietly()
{
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		rm -f "$log"
		fail "failed: $*"
	fi
	rm -f "$log"
}

install_missing()
{
	packages=$(missing "$1")
	[ -n "$packages" ] || return 0
	[ "$(id -u)" = 0 ] || fail "missing packages:$packages (run as root, or install them)"
	command -v apt-get >/dev/null || fail "missing, and no apt-get to install them:$packages"
	echo "installing$packages"
	quietly apt-get -q update
	# shellcheck disable=SC2086 # a list of words
	quietly env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install -y --no-install-recommends $packages
	packages=$(missing "$1")
	[ -z "$packages" ] || fail "still missing after the installation:$packages"
}

# Release build in build/; $1 says whether the tests are built too.
build()
{
	if [ ! -f build/build.ninja ]; then
		echo "configuring build/"
		quietly meson setup build --buildtype=release "-Dtests=$1"
	elif [ "$1" = true ]; then
		quietly meson configure build --buildtype=release -Dtests=true
	fi
	echo "building"
	quietly ninja -C build
}

demo()
{
	trace=build/demo.vmt
	rm -f "$trace"
	# Not a shim that starts the interpreter: the interpreter.
	python=$(python3 -c 'import sys; print(sys.executable)')
	echo "recording tests/demo/demo.py"
	build/analyzer/vmtrail record -o "$trace" -- "$python" tests/demo/demo.py
	build/analyzer/vmtrail report "$trace"
	build/analyzer/vmtrail verify "$trace"
	echo "trace: $trace"
}

run_tests()
{
	status=0
	rm -f build/meson-logs/testlog.json
	meson test -C build --no-rebuild --print-errorlogs </dev/null || status=$?
	python3 tests/summary.py build/meson-logs/testlog.json || exit 1
	exit "$status"
}

case ${1-} in
deps)
	install_missing "$build_needs$test_needs"
	;;
cross-deps)
	[ -z "$(missing "$cross_needs")" ] || dpkg --add-architecture arm64
	install_missing "$cross_needs"
	;;
build)
	install_missing "$build_needs"
	build false
	;;
demo)
	install_missing "$build_needs"
	build false
	demo
	;;
test)
	install_missing "$build_needs$test_needs"
	build true
	run_tests
	;;
*)
	echo "$usage" >&2
	exit 2
	;;
esac
