//! A config.json taken all the way to what the sandbox is told, without making anything: for tests and fuzzing.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxResources, Process};
use sandbox::container::Source;

use super::bundle::Bundle;
use super::resources;
use crate::cgroup::Driver;

/// Translates `config` as `create` does, with `root` as the root directory whatever it says; and, taken as such, the files of `exec`
/// and `update`. Tells whether there is a container. Panics when what is made does not hold together.
pub fn translate(config: &[u8], root: &Path) -> bool {
    let _ = serde_json::from_slice::<LinuxResources>(config).map(|file| resources::limits(&file));
    let Ok(mut bundle) = Bundle::of_text(PathBuf::from("/"), config.to_vec()) else {
        return false;
    };
    if let Some(mut named) = bundle.spec.root().clone() {
        named.set_path(root.to_path_buf());
        bundle.spec.set_root(Some(named));
    }
    let _ = bundle.namespaces();
    for driver in [Driver::Files, Driver::Systemd] {
        let _ = bundle.planned_cgroup("id", driver);
    }
    let _ = serde_json::from_slice::<Process>(config).map(|process| bundle.process_of(&process));
    let Ok(made) = bundle.sandbox("id") else {
        return false;
    };
    for mount in &made.config.container.mounts {
        assert!(mount.at.starts_with(b"/"), "a mount at no absolute path");
        if let Source::Tree { index, read_only } = mount.source {
            let tree = made.trees.get(index + 1);
            assert!(
                tree.is_some_and(|tree| tree.read_only == read_only),
                "a mount of no tree"
            );
        }
    }
    assert!(!made.config.container.process.argv.is_empty(), "no program");
    true
}
