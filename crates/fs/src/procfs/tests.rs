//! Texts of procfs, made from a kernel without a machine.

use std::sync::Arc;

use kernel::file::HeapMemory;
use kernel::{Kernel, KernelConfig, NoLog};
use platform::scripted::Scripted;

use super::root::Root;
use super::system::System;
use crate::kernfs::Node;

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
