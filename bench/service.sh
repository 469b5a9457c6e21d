#!/bin/sh
# A server and its client, for the network rows of the benchmark.
#   service.sh serve ROW DIR         the server, in the foreground, on every address
#   service.sh ask ROW DIR HOST      its client: one number, in MB/s or requests a second
#   service.sh both ROW DIR          both here, over the loopback interface (or a unix socket)
# DIR holds the prepared data; exit status 69: a program is missing here.
set -eu
step=$1 row=$2 data=$3 host=${4:-127.0.0.1}
PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:$PATH

need() {
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 69; }
    done
}

case $row in
iperf3-*) need iperf3; port=5299 ;;
redis-*) need redis-server redis-benchmark; port=6399 ;;
nginx-*) need nginx wrk; port=8099 ;;
pgbench-*) need postgres pgbench setpriv; port=5499 ;;
*) echo "no row $row" >&2; exit 2 ;;
esac

serve() {
    case $row in
    iperf3-*) exec iperf3 --server --port $port ;;
    redis-*)
        exec redis-server --port $port --bind 0.0.0.0 --protected-mode no --save '' --appendonly no --dir /tmp ;;
    nginx-*)
        mkdir -p "$tmp/www"
        head -c 1024 /dev/zero | tr '\0' x >"$tmp/www/1k"
        cat >"$tmp/nginx.conf" <<END
daemon off; master_process off; pid $tmp/pid; error_log stderr crit;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000; sendfile on;
    client_body_temp_path $tmp/a; proxy_temp_path $tmp/b; fastcgi_temp_path $tmp/c;
    uwsgi_temp_path $tmp/d; scgi_temp_path $tmp/e;
    server { listen $port backlog=1024; root $tmp/www; }
}
END
        chmod -R a+rX "$tmp"
        exec nginx -p "$tmp" -c "$tmp/nginx.conf" -e stderr ;;
    pgbench-*)
        cp -r "$data/postgres" "$tmp/postgres"
        chown -R postgres "$tmp"
        chmod 700 "$tmp/postgres"
        exec setpriv --reuid postgres --clear-groups postgres -D "$tmp/postgres" -p $port -k "$tmp" \
            -c listen_addresses='*' -c fsync=off -c logging_collector=off ;;
    esac
}

ask() {
    case $row in
    iperf3-in) iperf3 -c "$host" -p $port -t 3 -f m >"$tmp/out" && received <"$tmp/out" ;;
    iperf3-out) iperf3 -c "$host" -p $port -t 3 -f m -R >"$tmp/out" && received <"$tmp/out" ;;
    redis-set) redis set 60000 1 ;;
    redis-get) redis get 60000 1 ;;
    redis-pipelined) redis set 600000 16 ;;
    nginx-keepalive) wrk -t1 -c50 -d3s "http://$host:$port/1k" | requests ;;
    nginx-connect) wrk -t1 -c50 -d3s -H 'Connection: close' "http://$host:$port/1k" | requests ;;
    pgbench-tcp) pgbench -h "$host" -p $port -U postgres -S -c 4 -T 4 bench | transactions ;;
    pgbench-unix) pgbench -h "$tmp" -p $port -U postgres -S -c 4 -T 4 bench | transactions ;;
    esac
}

redis() { redis-benchmark -h "$host" -p $port -t "$1" -n "$2" -P "$3" -c 50 --csv | awk -F '"' '/SET|GET/ { print $4; n++ } END { exit n != 1 }'; }
received() { awk '/receiver/ { for (i = 1; i < NF; i++) if ($(i + 1) == "Mbits/sec") { print $i / 8; n++ } } END { exit n != 1 }'; }
requests() { awk '/Requests\/sec/ { print $2; n++ } /Non-2xx/ { n = 9 } /Socket errors/ { bad = $4 + $6 + $8 + $10 } END { exit n != 1 || bad > 0 }'; }
transactions() { awk '/^tps/ { print $3; n++ } /failed transactions: [1-9]/ { n = 9 } END { exit n != 1 }'; }

# iperf3 takes any connection for a test, so it is asked in its own way.
ready() {
    case $row in
    iperf3-*)
        for _ in $(seq 100); do
            if iperf3 -c "$host" -p $port -n 1 >/dev/null 2>&1; then sleep 0.3; return; fi
            sleep 0.1
        done
        return 1 ;;
    *) "$data/net" wait "$host" $port ;;
    esac
}

tmp=$(mktemp -d /tmp/service.XXXXXX)
case $step in
serve) serve ;;
ask)
    trap 'rm -rf "$tmp"' EXIT
    ready
    ask ;;
both)
    (serve) >/dev/null 2>"$tmp.err" &
    server=$!
    trap 'kill -INT $server 2>/dev/null; wait $server || true; cat "$tmp.err" >&2; rm -rf "$tmp" "$tmp.err"' EXIT
    ready
    ask ;;
esac
