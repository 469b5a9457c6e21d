//! Texts of procfs, made from a kernel without a machine.

use std::sync::Arc;

use abi::Errno;
use kernel::file::HeapMemory;
use kernel::{Kernel, KernelConfig, NoLog};
use platform::scripted::Scripted;

use super::root::Root;
use super::system::System;
use crate::kernfs::Node;
use crate::testing::{guest, names, open, readlink, slurp, write};

fn kernel() -> Arc<Kernel> {
    let config = KernelConfig {
        cpus: 3,
        ..KernelConfig::default()
    };
    Kernel::new(Arc::new(Scripted), Arc::new(HeapMemory), Box::new(NoLog), config)
}

fn find(root: &Root, path: &str) -> Arc<dyn Node> {
    let mut names = path.split('/');
    let mut at = root.lookup(names.next().unwrap().as_bytes()).unwrap();
    for name in names {
        at = at.lookup(name.as_bytes()).unwrap();
    }
    at
}

fn text(root: &Root, path: &str) -> String {
    String::from_utf8(find(root, path).text().unwrap()).unwrap()
}

#[test]
fn the_kernel_files_have_linux_formats() {
    let kernel = kernel();
    let root = Root::new(System::new(&kernel));
    let meminfo = text(&root, "meminfo");
    assert!(
        meminfo.starts_with("MemTotal:        1048576 kB\nMemFree: "),
        "{meminfo}"
    );
    assert_eq!(text(&root, "cpuinfo").matches("processor\t: ").count(), 3);
    let stat = text(&root, "stat");
    assert!(stat.starts_with("cpu  0 0 0 "), "{stat}");
    assert!(stat.contains("\ncpu2 ") && stat.contains("\nbtime "), "{stat}");
    let uptime = text(&root, "uptime");
    assert_eq!(uptime.trim().split(' ').count(), 2);
    assert_eq!(text(&root, "loadavg").split(' ').count(), 5);
}

#[test]
fn every_listed_name_can_be_looked_up() {
    fn walk(dir: &dyn Node, depth: usize) {
        for listed in dir.list().unwrap() {
            let node = dir.lookup(&listed.name);
            let shown = String::from_utf8_lossy(&listed.name).into_owned();
            let node = node.unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(node.kind(), listed.kind, "{shown}");
            assert!(node.meta().is_ok(), "{shown}");
            if node.kind() == kernel::vfs::FileKind::Directory && depth < 6 {
                walk(&*node, depth + 1);
            }
        }
    }
    let kernel = kernel();
    walk(&Root::new(System::new(&kernel)), 0);
}

#[test]
fn sysctls_check_what_they_take() {
    let kernel = kernel();
    let root = Root::new(System::new(&kernel));
    let swappiness = find(&root, "sys/vm/swappiness");
    assert_eq!(swappiness.text().unwrap(), b"60\n");
    swappiness.store(b"10\n").unwrap();
    assert_eq!(swappiness.text().unwrap(), b"10\n");
    assert_eq!(kernel.sysctls.number("vm/swappiness", 60), 10);
    assert_eq!(swappiness.store(b"201"), Err(abi::Errno::EINVAL));
    assert_eq!(swappiness.store(b"x"), Err(abi::Errno::EINVAL));
    find(&root, "sys/kernel/hostname").store(b"box\n").unwrap();
    assert_eq!(kernel.uts.lock().nodename, "box");
    let boot_id = text(&root, "sys/kernel/random/boot_id");
    assert_eq!(boot_id, text(&root, "sys/kernel/random/boot_id"));
    assert_eq!(boot_id.len(), 37);
}

#[test]
fn a_process_shows_itself() {
    let guest = guest();
    assert_eq!(readlink(&guest, "/proc/self").unwrap(), "1");
    assert_eq!(readlink(&guest, "/proc/thread-self").unwrap(), "1/task/1");
    assert_eq!(readlink(&guest, "/proc/self/cwd").unwrap(), "/");
    assert_eq!(slurp(&guest, "/proc/self/comm").unwrap(), "test\n");
    let stat = slurp(&guest, "/proc/1/stat").unwrap();
    assert!(stat.starts_with("1 (test) R 0 1 1 "), "{stat}");
    assert_eq!(stat.trim().split(' ').count(), 52, "{stat}");
    let status = slurp(&guest, "/proc/self/status").unwrap();
    assert!(
        status.contains("\nUid:\t0\t0\t0\t0\n") && status.contains("\nThreads:\t1\n"),
        "{status}"
    );
    let maps = slurp(&guest, "/proc/self/maps").unwrap();
    assert!(
        maps.starts_with("00100000-00500000 rw-p 00000000 00:00 0 \n"),
        "{maps}"
    );
    assert!(slurp(&guest, "/proc/self/smaps").unwrap().contains("\nRss:"));
    assert_eq!(slurp(&guest, "/proc/self/statm").unwrap().split(' ').count(), 7);
    assert!(
        names(&guest, "/proc/self/task")
            .unwrap()
            .contains(&"1".to_string())
    );
    assert_eq!(slurp(&guest, "/proc/self/cgroup").unwrap(), "0::/\n");
    assert_eq!(open(&guest, "/proc/77", 0), Err(Errno::ENOENT));
    assert_eq!(open(&guest, "/proc/01", 0), Err(Errno::ENOENT));
}

#[test]
fn every_file_of_a_process_can_be_read() {
    let guest = guest();
    for name in names(&guest, "/proc/self").unwrap() {
        let path = format!("/proc/self/{name}");
        match slurp(&guest, &path) {
            Ok(_) | Err(Errno::EISDIR | Errno::EINVAL | Errno::EPERM | Errno::EACCES) => {}
            // Nothing is mapped at 0, no program was loaded.
            Err(Errno::EIO) if name == "mem" => {}
            Err(Errno::ENOENT) if name == "exe" => {}
            Err(error) => panic!("{path}: {error}"),
        }
    }
}

#[test]
fn mounts_are_shown() {
    let guest = guest();
    let mounts = slurp(&guest, "/proc/mounts").unwrap();
    assert!(mounts.contains("\nproc /proc proc rw 0 0\n"), "{mounts}");
    let info = slurp(&guest, "/proc/self/mountinfo").unwrap();
    assert!(info.contains(" / /dev/pts rw - devpts devpts rw\n"), "{info}");
}

#[test]
fn descriptors_are_links_to_their_files() {
    let guest = guest();
    let fd = open(&guest, "/dev/null", 2).unwrap();
    let link = format!("/proc/self/fd/{fd}");
    assert_eq!(readlink(&guest, &link).unwrap(), "/dev/null");
    let again = open(&guest, &link, 0).unwrap();
    assert_eq!(
        readlink(&guest, &format!("/dev/fd/{again}")).unwrap(),
        "/dev/null"
    );
    let info = slurp(&guest, &format!("/proc/self/fdinfo/{fd}")).unwrap();
    assert!(info.starts_with("pos:\t0\nflags:\t02\nmnt_id:\t"), "{info}");
    assert_eq!(open(&guest, "/proc/self/fd/99", 0), Err(Errno::ENOENT));
}

#[test]
fn memory_can_be_read_at_its_addresses() {
    let guest = guest();
    let at = guest.bytes(b"needle");
    let fd = open(&guest, "/proc/self/mem", 2).unwrap();
    let room = guest.room(6);
    assert_eq!(guest.call("pread64", &[fd as u64, room.0, 6, at.0]), Ok(6));
    assert_eq!(guest.read(room, 6), b"needle");
    assert_eq!(
        guest.call("pread64", &[fd as u64, room.0, 6, guest.bad().0]),
        Err(Errno::EIO)
    );
}

#[test]
fn the_name_can_be_changed_and_is_cut() {
    let guest = guest();
    let fd = open(&guest, "/proc/self/comm", 1).unwrap();
    write(&guest, fd, b"a name that is too long\n").unwrap();
    assert_eq!(slurp(&guest, "/proc/self/comm").unwrap(), "a name that is \n");
}

#[test]
fn other_users_see_little() {
    let guest = guest();
    assert!(names(&guest, "/proc/1/fd").is_ok());
    let fd = open(&guest, "/proc/sys/vm/swappiness", 2).unwrap();
    guest.become_user(1000, 1000);
    assert_eq!(write(&guest, fd, b"1"), Err(Errno::EPERM));
    assert_eq!(open(&guest, "/proc/sys/vm/swappiness", 2), Err(Errno::EACCES));
}

#[test]
fn namespaces_are_files_with_their_numbers() {
    let guest = guest();
    assert_eq!(readlink(&guest, "/proc/self/ns/net").unwrap(), "net:[4026531840]");
    let fd = open(&guest, "/proc/self/ns/net", 0).unwrap();
    let link = format!("/proc/self/fd/{fd}");
    assert_eq!(readlink(&guest, &link).unwrap(), "net:[4026531840]");
}

#[test]
fn system_v_objects_are_listed() {
    let guest = guest();
    assert_eq!(slurp(&guest, "/proc/sysvipc/shm").unwrap().lines().count(), 1);
    guest.call("shmget", &[7, 4096, 0o1600]).unwrap();
    guest.call("msgget", &[8, 0o1600]).unwrap();
    guest.call("semget", &[9, 2, 0o1600]).unwrap();
    let shm = slurp(&guest, "/proc/sysvipc/shm").unwrap();
    let fields: Vec<&str> = shm.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((fields[0], fields[2], fields[3]), ("7", "600", "4096"));
    assert_eq!(slurp(&guest, "/proc/sysvipc/msg").unwrap().lines().count(), 2);
    assert_eq!(slurp(&guest, "/proc/sysvipc/sem").unwrap().lines().count(), 2);
}
