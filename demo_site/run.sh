#!/bin/sh
# Prepares the demo site and serves it until Ctrl-C, with simulated visitors unless TRAFFIC=0.
# SERVICES=1 also starts Redis and memcached on free ports, where they are installed; they end with
# the demo. Called by `make demo`.
set -eu

PYTHON=${PYTHON:-python3}
PORT=${PORT:-8000}
TRAFFIC=${TRAFFIC:-1}
SERVICES=${SERVICES:-0}
SITE=http://127.0.0.1:$PORT
LONGEST_START=30

children=

manage() {
    "$PYTHON" "$(dirname "$0")/manage.py" "$@"
}

# Everything runs in the background and is waited for: a shell handles a signal only between its
# foreground commands, and would leave the server behind.
start() {
    "$@" < /dev/null &
    last_child=$!
    children="$last_child $children"
}

stop_children() {
    trap - EXIT
    for child in $children; do
        kill "$child" 2> /dev/null || true
    done
    wait
}

listens() {
    "$PYTHON" -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)' \
        "$1" 2> /dev/null
}

wait_until_it_listens() {
    waited=0
    until listens "$1"; do
        if ! kill -0 "$last_child" 2> /dev/null || [ "$waited" -ge "$LONGEST_START" ]; then
            return 1
        fi
        sleep 1
        waited=$((waited + 1))
    done
}

free_port() {
    "$PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_redis() {
    port=$(free_port)
    start redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no \
        --maxmemory 64mb --maxmemory-policy allkeys-lru > /dev/null
    if wait_until_it_listens "$port"; then
        export REDIS_URL="redis://127.0.0.1:$port/1"
    else
        echo "Redis did not start; the demo goes without it."
    fi
}

start_memcached() {
    port=$(free_port)
    if [ "$(id -u)" = 0 ]; then set -- -u nobody; else set --; fi
    start memcached -l 127.0.0.1 -p "$port" -U 0 -m 64 "$@"
    if wait_until_it_listens "$port"; then
        export MEMCACHED="127.0.0.1:$port"
    else
        echo "memcached did not start; the demo goes without it."
    fi
}

start_cache_servers() {
    if command -v redis-server > /dev/null; then
        start_redis
    else
        echo "redis-server is not installed; the demo goes without it."
    fi
    if command -v memcached > /dev/null; then
        start_memcached
    else
        echo "memcached is not installed; the demo goes without it."
    fi
}

prepare_site() {
    manage migrate --no-input --verbosity 0
    manage createcachetable --verbosity 0
    manage demo_seed
    manage demo_admin
}

trap stop_children EXIT
trap 'exit 129' HUP
# The way the demo is meant to end.
trap 'exit 0' INT
trap 'exit 143' TERM

if listens "$PORT"; then
    echo "Something listens on port $PORT already. Choose another: make demo PORT=8001" >&2
    exit 1
fi

if [ "$SERVICES" != 0 ]; then
    start_cache_servers
fi
prepare_site

start "$PYTHON" "$(dirname "$0")/manage.py" runserver --noreload "127.0.0.1:$PORT"
server=$last_child
if ! wait_until_it_listens "$PORT"; then
    echo "The demo site did not start." >&2
    exit 1
fi

if [ "$TRAFFIC" != 0 ]; then
    start "$PYTHON" "$(dirname "$0")/manage.py" demo_traffic --base-url "$SITE" \
        --verbosity 0 > /dev/null
fi

cat << MESSAGE

  The demo site:   $SITE/
  The dashboard:   $SITE/admin/   (log in as admin, password admin)
  Ctrl-C ends it.

MESSAGE

wait "$server"
