# A database made, filled and used by eight clients; postgres refuses to run as root.
# SPDX-License-Identifier: MIT
set -e
db=$PWD/db
"$1/initdb" -D "$db" -A trust >/dev/null
printf "unix_socket_directories='%s'\nlisten_addresses=''\n" "$PWD" >>"$db/postgresql.conf"
"$1/postgres" -D "$db" >log 2>&1 &
server=$!
for _ in $(seq 300); do
	"$1/pg_isready" -h "$PWD" -q && break
	sleep 0.1
done
"$1/createdb" -h "$PWD" bench
"$1/pgbench" -h "$PWD" -i -q bench >/dev/null 2>&1
"$1/pgbench" -h "$PWD" -c 8 -j 2 -t 100 bench >/dev/null 2>&1
kill -INT $server
wait $server || true
