# redis-server under load, with a save in the background and one in the foreground.
# SPDX-License-Identifier: MIT
set -e
cli="redis-cli -s $PWD/socket"
redis-server --port 0 --unixsocket "$PWD/socket" --dir "$PWD" --save "" --logfile log &
server=$!
for _ in $(seq 300); do
	$cli ping 2>/dev/null | grep -q PONG && break
	sleep 0.1
done
redis-benchmark -s "$PWD/socket" -q -c 20 -n 5000 -d 2000 -r 5000 -t set,get,lpush >/dev/null
$cli bgsave >/dev/null
while [ "$($cli info persistence | grep -c bgsave_in_progress:1)" != 0 ]; do
	sleep 0.1
done
$cli save >/dev/null
$cli flushall >/dev/null
$cli shutdown nosave
wait $server || true
