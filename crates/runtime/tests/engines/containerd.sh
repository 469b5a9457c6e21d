# What is tried with containerd. $1: path of the runtime; SOCKET; IMAGE.
runtime=$1
c() { timeout -k 1 60 ctr --address "$SOCKET" --namespace test "$@"; }
run() { c run --rm --runc-binary "$runtime" "$@"; }
section() { echo "--- $*"; }

section attached
run $IMAGE a echo hi
run $IMAGE a sh -c 'exit 7'; echo $?

section environment and directory
run --env A=b --cwd /tmp $IMAGE a sh -c 'echo $A; pwd'

section read-only root
run --read-only $IMAGE a sh -c 'echo x > /x' 2>&1

section memory
run --memory-limit 67108864 $IMAGE a sh -c 'x=a; while true; do x=$x$x; done' 2>/dev/null; echo $?

section seccomp
run --seccomp $IMAGE a grep Seccomp: /proc/self/status

section detached
c run -d --runc-binary "$runtime" $IMAGE b sh -c 'trap "exit 3" TERM; while true; do sleep 0.1; done'
sleep 1
c task exec --exec-id e1 b echo exec
c task exec --exec-id e2 b sh -c 'exit 9'; echo $?
c task ls | awk '$1 == "b" { print $3 }'
c task pause b; c task ls | awk '$1 == "b" { print $3 }'
c task resume b; c task ls | awk '$1 == "b" { print $3 }'
c task metrics b 2>/dev/null | grep -c memory.usage_in_bytes
c task kill -s TERM b
for i in 1 2 3 4 5 6 7 8 9 10; do
  c task ls | grep -q STOPPED && break
  sleep 0.3
done
c task ls | awk '$1 == "b" { print $3 }'
c task delete b; echo $?
c container delete b; echo $?
