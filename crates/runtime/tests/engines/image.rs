//! A small image without a registry: busybox, as the archive that every engine loads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::engine::{find, must};

/// The image's name in engines.
pub const NAME: &str = "localhost/busybox:latest";

/// Programs of busybox that the lists use.
const APPLETS: &[&str] = &[
    "awk", "cat", "chown", "cut", "date", "dd", "df", "echo", "env", "find", "free", "grep", "head",
    "hostname", "httpd", "ln", "id", "ip", "kill", "ls", "mkdir", "mount", "nc", "nproc", "ps", "pwd",
    "readlink", "rm", "sed", "sh", "sleep", "sort", "stat", "stty", "tail", "test", "touch", "tr", "true",
    "tty", "unshare", "wc", "wget", "yes", "chmod", "printf", "mv",
];

/// Makes the archive in `dir`. `None`, with a word why, when there is no static busybox.
pub fn archive(dir: &Path) -> Option<PathBuf> {
    let busybox = find("busybox")?;
    let headers = fs::read(&busybox).unwrap();
    // An ELF file with an interpreter needs libraries that the image does not have.
    if headers.windows(9).take(4096).any(|text| text == b"/lib64/ld") {
        eprintln!("skipped: busybox is not static (package busybox-static)");
        return None;
    }
    let root = dir.join("root");
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(&busybox, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").unwrap();
    let parts = dir.join("image");
    fs::create_dir_all(&parts).unwrap();
    let layer = parts.join("layer.tar");
    must(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("--owner=0")
            .arg("--group=0")
            .arg("-cf")
            .arg(&layer)
            .arg("."),
    );
    let digest = must(Command::new("sha256sum").arg(&layer));
    let digest = digest.split_whitespace().next().unwrap();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/bin"],"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}},"history":[{{"created":"2020-01-01T00:00:00Z"}}]}}"#
    );
    fs::write(parts.join("config.json"), config).unwrap();
    let manifest = format!(r#"[{{"Config":"config.json","RepoTags":["{NAME}"],"Layers":["layer.tar"]}}]"#);
    fs::write(parts.join("manifest.json"), manifest).unwrap();
    let archive = dir.join("busybox.tar");
    must(
        Command::new("tar")
            .arg("-C")
            .arg(&parts)
            .arg("-cf")
            .arg(&archive)
            .args(["manifest.json", "config.json", "layer.tar"]),
    );
    Some(archive)
}
