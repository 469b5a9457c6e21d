# What is tried with Podman. $1: path of the runtime; OPTIONS; IMAGE; SHARED: a directory of the host.
runtime=$1
p() { timeout -k 1 60 podman $OPTIONS --runtime "$runtime" "$@"; }
# Root without CAP_SYS_RESOURCE cannot raise limits.
limits="--ulimit nofile=$(ulimit -Hn):$(ulimit -Hn) --ulimit nproc=4096:4096"
run() { p run --rm --network none $limits "$@"; }
section() { echo "--- $*"; }

section attached
run $IMAGE echo hi
run $IMAGE sh -c 'exit 7'; echo $?

section standard input
echo data | run -i $IMAGE cat

section programs that cannot be run
run $IMAGE nosuch 2>/dev/null; echo $?

section environment, directory, user
run -e A=b -w /tmp -u 1000:1000 $IMAGE sh -c 'echo $A; pwd; id'

section volumes
run -v $SHARED:/v $IMAGE sh -c 'echo inside > /v/b'
cat $SHARED/b

section tmpfs
run --tmpfs /etc $IMAGE cat /etc/group
run --read-only $IMAGE sh -c '(echo x > /x) 2>&1; echo x > /tmp/x && cat /tmp/x'

section capabilities
run $IMAGE grep Cap /proc/self/status
run --cap-drop all $IMAGE grep Cap /proc/self/status

section memory
run --memory 64m $IMAGE sh -c 'x=a; while true; do x=$x$x; done' 2>/dev/null; echo $?

section detached
id=$(p run -d --network none $limits $IMAGE sh -c 'echo started; trap "echo ended; exit 3" TERM; while true; do sleep 0.1; done')
sleep 1
p logs $id
p exec $id echo exec
p exec $id sh -c 'exit 9'; echo $?
p pause $id >/dev/null; p inspect -f '{{.State.Status}}' $id
p unpause $id >/dev/null; p inspect -f '{{.State.Status}}' $id
p stop -t 10 $id >/dev/null; p inspect -f '{{.State.ExitCode}}' $id
p logs $id | tail -1
p rm $id >/dev/null; echo $?

section copies into a running container
id=$(p run -d --network none $limits -v /vol $IMAGE sleep 600)
echo from the host > $SHARED/put
p cp $SHARED/put $id:/etc/put && p exec $id cat /etc/put
p cp $SHARED/put $id:/vol/put && p exec $id cat /vol/put
p exec $id sh -c 'echo from inside > /etc/given'
p cp $id:/etc/given $SHARED/given && cat $SHARED/given
test -e /etc/put || echo not on the host
p top $id | grep -q 'sleep 600' && echo listed
p top $id | grep -c kthreadd
p rm -f -t 0 $id >/dev/null
