#!/bin/sh
# Prepares the demo site and serves it until Ctrl-C, with simulated visitors unless TRAFFIC=0.
# WORKERS=4 serves with gunicorn from as many processes, ASGI=1 with uvicorn from one or from
# WORKERS; else Django's runserver does. SERVICES=1 also starts Redis and memcached on free ports,
# where they are installed; they end with the demo. Called by `make demo`.
set -eu

PYTHON=${PYTHON:-python3}
PORT=${PORT:-8000}
TRAFFIC=${TRAFFIC:-1}
SERVICES=${SERVICES:-0}
WORKERS=${WORKERS:-}
ASGI=${ASGI:-0}
HERE=$(dirname "$0")
SITE=http://127.0.0.1:$PORT
LONGEST_START=60
# Requests under way may end; what is left then is a connection that a browser keeps open.
GRACE=3

children=

refuse() {
    echo "$1" >&2
    exit 2
}

need_switch() {
    case $2 in
        0 | 1) ;;
        *) refuse "$1 is 0 or 1, not '$2'. For example: make demo $1=1" ;;
    esac
}

# name, value, largest, example
need_number() {
    case $2 in
        *[!0-9]* | '' | 0* | ??????*) ;;
        *) if [ "$2" -le "$3" ]; then return; fi ;;
    esac
    refuse "$1 is a whole number from 1 to $3, not '$2'. For example: make demo $1=$4"
}

# module, what asks for it
need_module() {
    "$PYTHON" -c "import $1" 2> /dev/null ||
        refuse "$2 needs $1, which is not installed. Run: $PYTHON -m pip install $1"
}

# Everything runs in the background and is waited for: a shell handles a signal only between its
# foreground commands, and would leave the server behind.
start() {
    "$@" < /dev/null &
    last_child=$!
    children="$last_child $children"
}

# SIGTERM, not SIGINT: a shell without job control lets its background processes ignore that.
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

# The start page tells who serves it, and from how many processes.
choose_server() {
    if [ "$ASGI" = 1 ]; then
        need_module uvicorn "ASGI=1"
        DEMO_SERVER=uvicorn
    elif [ -n "$WORKERS" ]; then
        need_module gunicorn "WORKERS=$WORKERS"
        DEMO_SERVER=gunicorn
    else
        DEMO_SERVER=runserver
    fi
    DEMO_WORKERS=${WORKERS:-1}
    export DEMO_SERVER DEMO_WORKERS
}

start_site() {
    case $DEMO_SERVER in
        uvicorn)
            start "$PYTHON" -m uvicorn config.asgi:application --app-dir "$HERE" \
                --host 127.0.0.1 --port "$PORT" --workers "$DEMO_WORKERS" --lifespan off \
                --log-level warning --no-access-log --timeout-graceful-shutdown "$GRACE"
            ;;
        gunicorn)
            start "$PYTHON" -m gunicorn config.wsgi:application --pythonpath "$HERE" \
                --config "$HERE/config/gunicorn.py" --bind "127.0.0.1:$PORT" \
                --workers "$DEMO_WORKERS" --graceful-timeout "$GRACE"
            ;;
        *)
            start "$PYTHON" "$HERE/manage.py" runserver --noreload "127.0.0.1:$PORT"
            ;;
    esac
    site=$last_child
}

trap stop_children EXIT
trap 'exit 129' HUP
# The way the demo is meant to end.
trap 'exit 0' INT
trap 'exit 143' TERM

need_number PORT "$PORT" 65535 8001
need_switch TRAFFIC "$TRAFFIC"
need_switch SERVICES "$SERVICES"
need_switch ASGI "$ASGI"
if [ -n "$WORKERS" ]; then need_number WORKERS "$WORKERS" 32 4; fi
choose_server

if listens "$PORT"; then
    echo "Something listens on port $PORT already. Choose another: make demo PORT=8001" >&2
    exit 1
fi

if [ "$SERVICES" = 1 ]; then
    start_cache_servers
fi
start "$PYTHON" "$HERE/manage.py" demo_prepare
wait "$last_child"

start_site
if ! wait_until_it_listens "$PORT"; then
    echo "The demo site did not start." >&2
    exit 1
fi

if [ "$TRAFFIC" = 1 ]; then
    start "$PYTHON" "$HERE/manage.py" demo_traffic --base-url "$SITE" --verbosity 0 > /dev/null
fi

processes="one process"
if [ "$DEMO_WORKERS" != 1 ]; then processes="$DEMO_WORKERS processes"; fi
cat << MESSAGE

  The demo site:   $SITE/   ($DEMO_SERVER, $processes)
  The dashboard:   $SITE/admin/cache_monitor/dashboard/?range=15m
                   (log in as admin, password admin)
  Ctrl-C ends it.

MESSAGE

wait "$site"
