//! Programs of this machine, run natively and inside: the same output, the same status.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Scratch, have, run, tegmen_do};

/// Compilers and interpreters on a busy machine.
const PROGRAM_LIMIT: Duration = Duration::from_secs(120);

/// Runs `script` with bash in an empty directory, natively and then inside, and compares.
fn same(name: &str, needs: &[&str], script: &str) {
    if !have("bash") || !needs.iter().all(|program| have(program)) {
        return;
    }
    let scratch = Scratch::new(name);
    let native = run(
        Command::new("bash")
            .args(["-c", script])
            .current_dir(scratch.path()),
        PROGRAM_LIMIT,
    );
    assert!(native.status.is_some(), "natively: time limit");
    scratch.clear();
    let inside = run(
        &mut tegmen_do(&["--cwd", scratch.text()], &["bash", "-c", script]),
        PROGRAM_LIMIT,
    );
    assert_eq!(
        inside.stdout, native.stdout,
        "status {:?}, error output: {}",
        inside.status, inside.stderr
    );
    assert_eq!(inside.status, native.status, "{}", inside.stderr);
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        0,
        "something was written to the host"
    );
}

macro_rules! programs {
    ($($name:ident, [$($needs:literal),*], $script:literal;)*) => {
        $(#[test] fn $name() { same(stringify!($name), &[$($needs),*], $script); })*
    };
}

programs! {
    bash_pipelines, [], r#"
        seq 1 1000 | grep 7 | sort -rn | head -5
        echo a b c | tr ' ' '\n' | while read -r word; do echo "<$word>"; done
        x=$(echo nested $(echo deeper)); echo "$x"
        cat <<< "here string"; cat <(echo process) <(echo substitution)
        for i in 1 2 3; do (exit $i); echo $?; done
        set -o pipefail; false | true; echo $?
    "#;
    bash_jobs_and_traps, [], r#"
        sleep 0.2 & pid=$!; wait $pid; echo done $?
        (sleep 0.1; exit 7) & wait $!; echo $?
        trap 'echo caught' USR1; kill -USR1 $$; echo after
        trap 'echo bye' EXIT
        timeout 0.2 sleep 10; echo $?
        sleep 100 & sleep 0.3; kill %1; wait %1 2>/dev/null; echo $?
    "#;
    coreutils_files, [], r#"
        mkdir -p a/b/c && echo hello > a/b/c/f && cp -r a z && mv z/b z/y && ln -s y/c z/l && ls -R a z
        ln a/b/c/f hard && stat -c '%h %s %a %F' hard && chmod 640 hard && stat -c %a a/b/c/f
        touch -d '2020-02-02 02:02:02 UTC' hard && stat -c %Y hard
        rm -r a z && ls; wc -c hard; cut -c2-3 hard; dd if=/dev/zero bs=1k count=64 2>/dev/null | sha256sum
        truncate -s 1M sparse && stat -c '%s' sparse; readlink -f ./hard | sed 's|.*/||'; test -w hard && echo writable
        mkfifo p; (echo through > p &) ; cat p; rmdir nothing 2>&1; cat missing 2>&1
    "#;
    find_over_usr, [], "find /usr/bin /usr/lib/x86_64-linux-gnu /usr/share/doc -printf '%p %y %m %s\n' | sort | sha256sum; find /usr/include -name '*.h' | wc -l";
    text_tools, ["perl"], r#"
        seq 100 | awk '{s+=$1} END {print s}'; seq 20 | sed -n '3~4p'; printf 'b\na\nc\n' | sort | uniq -c
        seq 5 | perl -ne 'chomp; print $_ * $_, "\n"'; seq 5 | paste -s -d,; echo abc | rev; printf '%05d\n' 42
        diff <(seq 5) <(seq 2 6); echo $?; seq 10 | split -l 3 - part && ls part*; xargs -n2 echo < <(seq 5)
    "#;
    tar_and_gzip, ["tar", "gzip"], r#"
        mkdir src && for i in $(seq 50); do seq $i > src/$i; done; ln -s 1 src/link
        tar czf src.tgz src && mkdir out && tar xzf src.tgz -C out && diff -r src out/src && echo same
        tar tf src.tgz | sort | head -3; gzip -k src/50 && zcat src/50.gz | tail -1
    "#;
    git_local_repository, ["git"], r#"
        export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
        git init -q -b main r && cd r && for i in $(seq 30); do echo $i > f$i; done && git add . && git commit -qm one
        echo more >> f1 && git status --short && git commit -qam two && git log --format='%H %s' && git branch x && git gc -q && git fsck 2>&1
        cd .. && git clone -q r s && cd s && git rev-parse HEAD && git diff HEAD~1 --stat && ls | wc -l
    "#;
    python_basics, ["python3"], r#"
        python3 - <<'P'
import json, os, re, hashlib, tempfile, sqlite3, datetime
print(json.dumps({"a": [1, 2, {"b": None}]}), re.sub("a+", "x", "caaat"), hashlib.sha256(b"x").hexdigest())
with tempfile.TemporaryDirectory() as d:
    p = os.path.join(d, "f"); open(p, "w").write("hi"); print(os.stat(p).st_size, sorted(os.listdir(d)))
    db = sqlite3.connect(os.path.join(d, "db")); db.execute("create table t(x)")
    with db: db.executemany("insert into t values(?)", [(i,) for i in range(1000)])
    print(db.execute("select sum(x), count(*) from t").fetchone())
print(datetime.datetime.fromtimestamp(0, datetime.timezone.utc))
P
    "#;
    python_threads_and_processes, ["python3"], r#"
        python3 - <<'P'
import threading, subprocess, multiprocessing, asyncio, queue, concurrent.futures, os, signal, select, socket
def work(n): return sum(i * i for i in range(n))
total = []
ts = [threading.Thread(target=lambda i=i: total.append(work(i * 100))) for i in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]; print(sorted(total))
print(subprocess.run(["tr", "a-z", "A-Z"], input=b"shout", capture_output=True).stdout)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as p: print(p.map(work, range(5)))
    with concurrent.futures.ThreadPoolExecutor(4) as e: print(list(e.map(work, range(5))))
async def main():
    p = await asyncio.create_subprocess_exec("echo", "async", stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate(); print(out, await asyncio.gather(*(asyncio.sleep(0.01, i) for i in range(3))))
asyncio.run(main())
a, b = socket.socketpair(); a.send(b"x"); print(select.select([b], [], [], 1)[0] == [b], b.recv(1))
pid = os.fork()
if pid == 0: os._exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
signal.signal(signal.SIGALRM, lambda *a: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.05); signal.pause()
P
    "#;
    perl_processes, ["perl"], r#"
        perl -e 'my $pid = open(my $h, "-|", "echo child; exit 3"); print <$h>; close $h; print $? >> 8, "\n"; $SIG{CHLD} = sub { }; my $p = fork; if (!$p) { exit 9 } waitpid $p, 0; print $? >> 8, "\n"; print join(",", sort { $a <=> $b } map { $_ * 2 } 1..5), "\n"'
    "#;
    gcc_and_make, ["gcc", "make"], r#"
        cat > main.c <<'C'
#include <stdio.h>
int twice(int);
int main(void) { printf("%d\n", twice(21)); return 3; }
C
        echo 'int twice(int x) { return 2 * x; }' > twice.c
        printf 'prog: main.o twice.o\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -O2 -c $<\n' > Makefile
        make -j2 | sort && ./prog; echo $?
    "#;
    node_basics, ["node"], "node -e 'const fs=require(\"fs\"),{execSync}=require(\"child_process\");fs.writeFileSync(\"f\",\"x\".repeat(100000));console.log(fs.statSync(\"f\").size,execSync(\"echo sub\").toString().trim());setTimeout(()=>console.log(\"later\"),20);Promise.resolve(1).then(console.log)'";
    java_version, ["java"], "java -version 2>&1 | head -1";
    open_files_and_limits, ["python3"], r#"
        exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
        python3 -c '
import os, resource
os.closerange(3, 100)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
fds = []
try:
    while True: fds.append(os.open("/dev/null", os.O_RDONLY))
except OSError as e: print(len(fds), e.strerror)
'
    "#;
}
