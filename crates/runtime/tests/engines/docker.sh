# What is tried with Docker. $1: runtime; IMAGE; SHARED: a directory of the host.
runtime=$1
d() { timeout -k 1 60 docker "$@"; }
run() { d run --rm --network none --runtime "$runtime" "$@"; }
start() { d run -d --network none --runtime "$runtime" "$@"; }
section() { echo "--- $*"; }

section attached
run $IMAGE echo hi
run $IMAGE sh -c 'exit 7'; echo $?
run $IMAGE sh -c 'kill -9 $$'; echo $?

section standard input
echo data | run -i $IMAGE cat

section standard error
run $IMAGE sh -c 'echo error >&2' 2>&1

section programs that cannot be run
run $IMAGE nosuch 2>&1 | grep -o 'executable file not found.*'
run $IMAGE nosuch 2>/dev/null; echo $?
run $IMAGE /etc 2>&1 | grep -o 'permission denied'
run $IMAGE /etc 2>/dev/null; echo $?

section environment and directory
run -e A=b $IMAGE sh -c 'echo $A $HOME $PATH'
run -w /tmp/x $IMAGE pwd

section files of the image
run $IMAGE sh -c 'mkdir /etc/new && echo a > /etc/new/f && echo b >> /etc/passwd && cat /etc/new/f && tail -1 /etc/passwd && ls /etc | sort'
run $IMAGE sh -c 'exec 3< /etc/group; mv /etc/group /etc/moved; rm /etc/passwd; head -1 <&3; ls /etc; cd /tmp; mkdir a; cd a; touch b; ls'

section user
run -u 1000:1000 $IMAGE id
run -u user --group-add 55 $IMAGE id -G

section volumes
echo outside > $SHARED/a
run -v $SHARED:/v $IMAGE sh -c 'cat /v/a; echo inside > /v/b'
cat $SHARED/b
run -v $SHARED:/v:ro $IMAGE sh -c 'echo x > /v/c' 2>&1
run -v $SHARED/a:/file $IMAGE sh -c 'cat /file; echo changed > /file'
cat $SHARED/a

section tmpfs
run --tmpfs /t:size=64k $IMAGE sh -c 'df -k /t | tail -1 | awk "{ print \$2 }"; dd if=/dev/zero of=/t/x bs=1k count=100 2>&1 | grep -o "No space.*"'

section read-only root
run --read-only $IMAGE sh -c 'echo x > /x' 2>&1
run --read-only --tmpfs /tmp $IMAGE sh -c 'echo x > /tmp/x && cat /tmp/x'

section out of memory
d run --network none --runtime "$runtime" --name oom --memory 64m $IMAGE sh -c 'x=a; while true; do x=$x$x; done' >/dev/null 2>&1; echo $?
d inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom
d rm oom >/dev/null
run --memory 64m $IMAGE sh -c '(x=a; while true; do x=$x$x; done) 2>/dev/null; echo child $?; echo alive'

section processors and tasks
run --cpuset-cpus 0 $IMAGE nproc
run --pids-limit 5 $IMAGE sh -c 'for i in 1 2 3 4 5 6 7; do sleep 1 & done; wait' 2>&1 | tail -1

section capabilities
run $IMAGE grep Cap /proc/self/status
run --cap-drop ALL $IMAGE sh -c 'grep Cap /proc/self/status; chown 1 /tmp 2>&1'
run --cap-drop CHOWN --cap-add SYS_ADMIN $IMAGE grep Cap /proc/self/status
run -u 1000 $IMAGE grep Cap /proc/self/status
run --security-opt no-new-privileges $IMAGE grep NoNew /proc/self/status

section seccomp
run $IMAGE grep Seccomp: /proc/self/status
run --security-opt seccomp=unconfined $IMAGE grep Seccomp: /proc/self/status
run $IMAGE unshare -m true 2>&1

section init
run --init $IMAGE sh -c 'cat /proc/1/comm'

section resource limits
run --ulimit nofile=100:200 $IMAGE sh -c 'ulimit -n; ulimit -Hn'

section kernel settings
run --sysctl net.ipv4.ip_forward=1 $IMAGE cat /proc/sys/net/ipv4/ip_forward
run --sysctl kernel.msgmax=5000 $IMAGE cat /proc/sys/kernel/msgmax

section names
run -h some-host $IMAGE hostname
run -h some-host $IMAGE cat /etc/hostname

section hidden and read-only parts of proc
run $IMAGE sh -c 'cat /proc/timer_list; echo x > /proc/sys/kernel/hostname' 2>&1

section devices
run $IMAGE sh -c 'ls /dev | sort; cd /dev; stat -c "%n %F %a %t %T" null zero full random urandom tty; for l in fd stdin ptmx; do readlink $l; done'
run --device /dev/null:/dev/other $IMAGE stat -c '%F %t %T' /dev/other

section detached
id=$(start $IMAGE sh -c 'echo started; trap "echo ended; exit 3" TERM; while true; do sleep 0.1; done')
sleep 1
d logs $id
d exec $id echo exec
d exec -e X=1 -w /etc -u 5 $id sh -c 'echo $X $PWD $(id -u)'
d exec $id sh -c 'exit 9'; echo $?
d exec $id nosuch 2>&1 | grep -o 'executable file not found.*'
echo in | d exec -i $id cat
d exec $id grep Cap /proc/self/status
d pause $id >/dev/null; d inspect -f '{{.State.Status}}' $id
d unpause $id >/dev/null; d inspect -f '{{.State.Status}}' $id
d stats --no-stream --format '{{.MemPerc}}' $id | grep -c %
d update --memory 100m --memory-swap 200m $id >/dev/null; echo updated $?
echo copied > $SHARED/copied; d cp $SHARED/copied $id:/tmp/copied 2>/dev/null; d exec $id cat /tmp/copied
d cp $id:/etc/passwd - 2>/dev/null | tar t
d stop -t 10 $id >/dev/null; d inspect -f '{{.State.ExitCode}}' $id
d logs $id | tail -1
d rm $id >/dev/null

section top
id=$(start $IMAGE sh -c 'sleep 500 & exec sleep 600'); sleep 1
d exec -d $id sleep 700; sleep 0.5
d top $id | awk 'NR > 1 { print $8, $9 }' | sort
d top $id -o pid,comm,args | awk 'NR > 1 { print $2, $3, $4 }' | sort
d rm -f $id >/dev/null

section stop
id=$(start $IMAGE sleep 600); d stop -t 1 $id >/dev/null; d inspect -f '{{.State.ExitCode}}' $id; d rm $id >/dev/null
id=$(start $IMAGE sh -c 'trap "" TERM; while true; do sleep 0.1; done'); sleep 1
d stop -t 1 $id >/dev/null; d inspect -f '{{.State.ExitCode}}' $id; d rm $id >/dev/null
id=$(start --stop-signal USR1 $IMAGE sh -c 'trap "exit 9" USR1; while true; do sleep 0.1; done'); sleep 1
d stop $id >/dev/null; d wait $id; d rm $id >/dev/null

section kill
id=$(start $IMAGE sleep 100); d kill $id >/dev/null; d wait $id; d rm $id >/dev/null
id=$(start $IMAGE sh -c 'trap "exit 4" HUP; while true; do sleep 0.1; done'); sleep 1; d kill -s HUP $id >/dev/null; d wait $id; d rm $id >/dev/null
id=$(start $IMAGE sleep 100); d rm -f $id >/dev/null; echo $?

section restart
id=$(start --restart on-failure:2 $IMAGE sh -c 'exit 1')
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  [ "$(d inspect -f '{{.RestartCount}} {{.State.Status}}' $id)" = "2 exited" ] && break
  sleep 0.5
done
d inspect -f '{{.RestartCount}} {{.State.Status}}' $id
d rm -f $id >/dev/null

section health
id=$(start --health-cmd 'test -e /tmp' --health-interval 1s $IMAGE sleep 100)
for i in 1 2 3 4 5 6 7 8 9 10; do
  [ "$(d inspect -f '{{.State.Health.Status}}' $id)" = healthy ] && break
  sleep 0.5
done
d inspect -f '{{.State.Health.Status}}' $id
d rm -f $id >/dev/null

section terminal
script -qec "docker run --rm --network none -t --runtime $runtime $IMAGE sh -c 'tty; test -t 0 && echo terminal; stat -c \"%F %t %T %a %g\" /dev/console; grep -c /dev/console /proc/mounts; echo to the console > /dev/console'" /dev/null | tr -d '\r'

section the same container again
id=$(d create --network none --runtime "$runtime" $IMAGE sh -c 'echo x >> /log; wc -l < /log')
d start -a $id; d start -a $id
d diff $id
d commit $id changed >/dev/null; run changed wc -l /log
d rm $id >/dev/null; d rmi changed >/dev/null

section shm
run --shm-size 8m $IMAGE sh -c 'df -k /dev/shm | tail -1 | awk "{print \$2}"; dd if=/dev/zero of=/dev/shm/x bs=1M count=10 2>&1 | grep -o "No space.*"; ls -l /dev/shm/x | awk "{print \$5}"; df -k /dev/shm | tail -1 | awk "{print \$3, \$4, \$5}"; rm /dev/shm/x; df -k /dev/shm | tail -1 | awk "{print \$3, \$4, \$5}"'

section ulimits
run --ulimit nofile=50:60 --ulimit core=0 --ulimit nproc=100 --ulimit stack=1000000 $IMAGE sh -c 'ulimit -a'

section seccomp file
cat > $SHARED/prof.json <<X
{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}
X
run --security-opt seccomp=$SHARED/prof.json $IMAGE sh -c 'mkdir /tmp/x' 2>&1
run --security-opt no-new-privileges --security-opt seccomp=unconfined $IMAGE grep -E 'NoNew|Seccomp:' /proc/self/status

section hosts
run --add-host foo:1.2.3.4 --hostname hh $IMAGE sh -c 'grep -E "foo|hh" /etc/hosts; hostname; cat /proc/sys/kernel/hostname'
run --domainname dd.test $IMAGE cat /proc/sys/kernel/domainname

section oom score
run --oom-score-adj 500 $IMAGE cat /proc/self/oom_score_adj

section named volume
d volume create vol >/dev/null; run -v vol:/data $IMAGE sh -c 'echo kept > /data/f'; run -v vol:/data:ro $IMAGE sh -c 'cat /data/f; touch /data/g 2>&1'; d volume rm vol >/dev/null
run -v /etc/anon $IMAGE sh -c 'ls /etc/anon; touch /etc/anon/x; mount | grep -c /etc/anon'
run --mount type=tmpfs,destination=/tt,tmpfs-size=1m,tmpfs-mode=1770 $IMAGE stat -c %a /tt
run --mount type=bind,source=$SHARED,target=/s,readonly $IMAGE sh -c 'touch /s/no' 2>&1

section attach
id=$(start -i $IMAGE sh -c 'read x; echo got $x; exit 6'); sleep 0.5
echo hello | d attach $id; echo $?
d rm -f $id > /dev/null

section wait and rename
d rm -f rn rn2 >/dev/null 2>&1
id=$(start --name rn $IMAGE sh -c 'sleep 1; exit 5'); d rename rn rn2; d wait rn2; d inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}' rn2; d rm rn2 >/dev/null

section detach keys
id=$(start -i -t $IMAGE sh); sleep 0.5
(sleep 1; printf 'echo hi\r'; sleep 1; printf '\020\021') | script -qec "docker attach $id" /dev/null | tr -d '\r' | grep -c 'read escape'
d inspect -f '{{.State.Status}}' $id; d rm -f $id >/dev/null

section words of errors
id=$(start -u 0:1000 --group-add 77 --group-add 55 $IMAGE sleep 600)
d exec $id '' 2>&1 | grep -o 'exec: .*'
d exec -w /nosuch $id pwd 2>&1 | grep -o 'chdir to.*'
d exec $id id
d rm -f $id >/dev/null

section the host\'s name
run --uts host $IMAGE hostname

section processors that change
id=$(start $IMAGE sleep 600)
for cpus in 0 0-1; do
  d update --cpuset-cpus $cpus $id >/dev/null
  d exec $id sh -c 'nproc; grep Cpus_allowed_list /proc/self/status'
done
d rm -f $id >/dev/null

section speed of a terminal
script -qec "docker run --rm --network none -t --runtime $runtime $IMAGE stty -a" /dev/null | tr -d '\r' | grep -o 'speed.*;'

section two containers by name
d network create two >/dev/null
id=$(d run -d --network two --name served --network-alias also --runtime "$runtime" $IMAGE sh -c 'mkdir /w; echo page > /w/index.html; exec httpd -f -p 8080 -h /w')
sleep 1
client() { d run --rm --network two --runtime "$runtime" $IMAGE "$@"; }
client wget -q -O - http://served:8080/
client wget -q -O - http://also:8080/index.html
client sh -c 'wget -q -O - http://nosuch:8080/ 2>&1'
d exec $id wget -q -O - http://127.0.0.1:8080/
d restart -t 0 $id >/dev/null; sleep 1
client wget -q -O - http://served:8080/
d rm -f $id >/dev/null; d network rm two >/dev/null

section shared memory of another container
id=$(start --ipc shareable $IMAGE sh -c 'echo shared > /dev/shm/f; exec sleep 600'); sleep 0.5
run --ipc container:$id $IMAGE cat /dev/shm/f
d rm -f $id >/dev/null

section volumes of another container
id=$(start -v /kept $IMAGE sh -c 'echo kept > /kept/f; exec sleep 600'); sleep 0.5
run --volumes-from $id $IMAGE cat /kept/f
run --volumes-from $id:ro $IMAGE sh -c 'echo x > /kept/f' 2>&1
d rm -f -v $id >/dev/null

section copies
id=$(start -v /vol $IMAGE sleep 600)
mkdir -p $SHARED/tree/sub; echo leaf > $SHARED/tree/sub/f
d cp $SHARED/tree $id:/vol/ 2>/dev/null; d exec $id cat /vol/tree/sub/f
d exec $id sh -c 'echo inside > /root/i'
d cp $id:/root/i - 2>/dev/null | tar xO
d export $id | tar t | grep -c '^root/i'
d rm -f -v $id >/dev/null

section events
from=$(date +%s)
id=$(start $IMAGE sh -c 'trap "exit 0" TERM; while true; do sleep 0.1; done'); sleep 0.5
d pause $id >/dev/null; d unpause $id >/dev/null; d kill -s USR2 $id >/dev/null
d restart -t 5 $id >/dev/null; d stop -t 5 $id >/dev/null; d rm $id >/dev/null
d events --since $from --until $(($(date +%s) + 1)) --filter container=$id --format '{{.Status}}'
