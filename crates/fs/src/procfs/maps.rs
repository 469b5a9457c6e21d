//! /proc/PID/{maps,smaps,smaps_rollup}: the areas of an address space.

use std::fmt::Write;
use std::sync::Arc;

use abi::{Errno, PAGE_SIZE};
use kernel::mm::{Area, AreaFlags, AreaName, Backing, Mm};
use kernel::vfs::device::{major, minor};
use platform::Prot;

use super::process::Process;
use super::process_text::path_text;

/// Column at which names begin.
const NAME_COLUMN: usize = 73;
/// Bytes of one area of which residency is counted; more are not looked at.
const COUNT_MAX: u64 = 4 << 30;

/// Device, inode number and name of what an area shows.
fn shown(area: &Area) -> (u64, u64, Vec<u8>) {
    let named = match area.name {
        AreaName::Heap => "[heap]",
        AreaName::Stack => "[stack]",
        AreaName::Vdso => "[vdso]",
        AreaName::Vvar => "[vvar]",
        AreaName::None => "",
    };
    if !named.is_empty() {
        return (0, 0, named.into());
    }
    match &area.backing {
        Backing::Anonymous => (0, 0, Vec::new()),
        Backing::Vdso => (0, 0, b"[vdso]".to_vec()),
        Backing::Object { object, .. } => (1, object.ino, object.name.clone()),
        Backing::File { file, .. } => {
            let inode = file.path().inode();
            let place = inode.and_then(|inode| Ok((inode.sb.dev, inode.attr()?.ino)));
            let (dev, ino) = place.unwrap_or((0, 0));
            let text = path_text(file.path());
            // A newline in a name would look like another area.
            let name = text.iter().flat_map(|byte| match byte {
                b'\n' => b"\\012".to_vec(),
                other => vec![*other],
            });
            (dev, ino, name.collect())
        }
    }
}

/// One line of maps.
fn line(out: &mut Vec<u8>, area: &Area) {
    let flag = |prot, letter| if area.prot.contains(prot) { letter } else { '-' };
    let offset = match &area.backing {
        Backing::Object { offset, .. } | Backing::File { offset, .. } => *offset,
        Backing::Anonymous | Backing::Vdso => 0,
    };
    let (dev, ino, name) = shown(area);
    let mut text = format!(
        "{:08x}-{:08x} {}{}{}{} {offset:08x} {:02x}:{:02x} {ino} ",
        area.start,
        area.end,
        flag(Prot::READ, 'r'),
        flag(Prot::WRITE, 'w'),
        flag(Prot::EXEC, 'x'),
        if area.shared() { 's' } else { 'p' },
        major(dev),
        minor(dev),
    );
    if !name.is_empty() {
        while text.len() < NAME_COLUMN {
            text.push(' ');
        }
    }
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(&name);
    out.push(b'\n');
}

/// An address space with its areas.
type Mapped = (Arc<Mm>, Vec<Area>);

/// The areas of a process, for those who may look; `None` for a zombie.
fn areas(at: &Process) -> Result<Option<Mapped>, Errno> {
    at.may_access()?;
    let mm = at.mm()?;
    Ok(mm.map(|mm| {
        let areas = mm.areas();
        (mm, areas)
    }))
}

/// /proc/PID/maps.
pub fn maps(at: &Process) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    if let Some((_, areas)) = areas(at)? {
        for area in &areas {
            line(&mut out, area);
        }
    }
    Ok(out)
}

/// Sums of smaps_rollup, and the numbers of one area of smaps, in bytes.
#[derive(Clone, Copy, Default)]
struct Sums {
    resident: u64,
    anonymous: u64,
    file: u64,
    locked: u64,
}

impl Sums {
    fn of(mm: &Mm, area: &Area) -> Sums {
        let resident = mm.resident_in(area.start, area.end.min(area.start.saturating_add(COUNT_MAX)));
        let anonymous = area.private_anonymous();
        Sums {
            resident,
            anonymous: if anonymous { resident } else { 0 },
            file: if anonymous { 0 } else { resident },
            locked: if area.flags.contains(AreaFlags::LOCKED) {
                resident
            } else {
                0
            },
        }
    }

    fn add(&mut self, other: Sums) {
        self.resident += other.resident;
        self.anonymous += other.anonymous;
        self.file += other.file;
        self.locked += other.locked;
    }

    /// The rows from Rss on. Pages count as this process's alone: who else maps them is the host's knowledge.
    fn rows(&self, rollup: bool) -> Vec<(&'static str, u64)> {
        let mut rows = vec![
            ("Rss:", self.resident),
            ("Pss:", self.resident),
            ("Pss_Dirty:", self.anonymous),
        ];
        if rollup {
            rows.extend([
                ("Pss_Anon:", self.anonymous),
                ("Pss_File:", self.file),
                ("Pss_Shmem:", 0),
            ]);
        }
        rows.extend([
            ("Shared_Clean:", 0),
            ("Shared_Dirty:", 0),
            ("Private_Clean:", self.file),
            ("Private_Dirty:", self.anonymous),
            ("Referenced:", self.resident),
            ("Anonymous:", self.anonymous),
            ("KSM:", 0),
            ("LazyFree:", 0),
            ("AnonHugePages:", 0),
            ("ShmemPmdMapped:", 0),
            ("FilePmdMapped:", 0),
            ("Shared_Hugetlb:", 0),
            ("Private_Hugetlb:", 0),
            ("Swap:", 0),
            ("SwapPss:", 0),
            ("Locked:", self.locked),
        ]);
        rows
    }
}

fn write_rows(out: &mut Vec<u8>, rows: &[(&str, u64)]) {
    let mut text = String::new();
    for (name, bytes) in rows {
        let _ = writeln!(text, "{name:<16}{:>8} kB", bytes / 1024);
    }
    out.extend_from_slice(text.as_bytes());
}

/// The two-letter flags of VmFlags.
fn vm_flags(area: &Area) -> String {
    let mut flags = String::from("VmFlags:");
    let mut add = |on: bool, name: &str| {
        if on {
            flags.push(' ');
            flags.push_str(name);
        }
    };
    add(area.prot.contains(Prot::READ), "rd");
    add(area.prot.contains(Prot::WRITE), "wr");
    add(area.prot.contains(Prot::EXEC), "ex");
    add(area.shared(), "sh");
    add(area.max_prot.contains(Prot::READ), "mr");
    add(area.max_prot.contains(Prot::WRITE), "mw");
    add(area.max_prot.contains(Prot::EXEC), "me");
    add(area.shared(), "ms");
    add(area.flags.contains(AreaFlags::GROWSDOWN), "gd");
    add(area.flags.contains(AreaFlags::LOCKED), "lo");
    add(area.flags.contains(AreaFlags::DONTFORK), "dc");
    add(area.flags.contains(AreaFlags::NORESERVE), "nr");
    add(area.flags.contains(AreaFlags::WIPEONFORK), "wf");
    add(area.flags.contains(AreaFlags::DONTDUMP), "dd");
    add(area.flags.contains(AreaFlags::NOHUGE), "nh");
    flags.push_str(" \n");
    flags
}

/// /proc/PID/smaps.
pub fn smaps(at: &Process) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    let Some((mm, areas)) = areas(at)? else {
        return Ok(out);
    };
    for area in &areas {
        line(&mut out, area);
        write_rows(
            &mut out,
            &[
                ("Size:", area.len()),
                ("KernelPageSize:", PAGE_SIZE),
                ("MMUPageSize:", PAGE_SIZE),
            ],
        );
        write_rows(&mut out, &Sums::of(&mm, area).rows(false));
        out.extend_from_slice(b"THPeligible:           0\nProtectionKey:         0\n");
        out.extend_from_slice(vm_flags(area).as_bytes());
    }
    Ok(out)
}

/// /proc/PID/smaps_rollup.
pub fn smaps_rollup(at: &Process) -> Result<Vec<u8>, Errno> {
    let Some((mm, areas)) = areas(at)? else {
        return Err(Errno::ESRCH);
    };
    let mut sums = Sums::default();
    for area in &areas {
        sums.add(Sums::of(&mm, area));
    }
    let (start, end) = (
        areas.first().map_or(0, |area| area.start),
        areas.last().map_or(0, |area| area.end),
    );
    let mut text = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ");
    while text.len() < NAME_COLUMN {
        text.push(' ');
    }
    text.push_str("[rollup]\n");
    let mut out = text.into_bytes();
    write_rows(&mut out, &sums.rows(true));
    Ok(out)
}
