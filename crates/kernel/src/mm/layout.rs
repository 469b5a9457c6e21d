//! Where the parts of a program lie, and what /proc shows of an address space.

use std::sync::Arc;

use abi::UserAddr;

use platform::{AddressSpace, UserRange};

use super::{Area, AreaFlags, AreaMap, Mm};
use crate::file::FileDescription;

/// The places that execve(2) chose (the fields of mm_struct that /proc and prctl(PR_SET_MM) show).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// New mappings are placed below this, top down.
    pub mmap_base: u64,
    /// Start of the heap.
    pub start_brk: u64,
    /// End of the heap (not rounded).
    pub brk: u64,
    /// Code of the program.
    pub start_code: u64,
    /// Its end.
    pub end_code: u64,
    /// Data of the program.
    pub start_data: u64,
    /// Its end.
    pub end_data: u64,
    /// The stack pointer at the program's start.
    pub start_stack: u64,
    /// Strings of the arguments.
    pub arg_start: u64,
    /// Their end.
    pub arg_end: u64,
    /// Strings of the environment.
    pub env_start: u64,
    /// Their end.
    pub env_end: u64,
    /// The auxiliary vector as bytes.
    pub auxv: Vec<u8>,
    /// The vDSO's ELF header; 0 without one.
    pub vdso: u64,
}

/// Sums over an address space, in bytes (the Vm lines of /proc/PID/status).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// VmSize.
    pub size: u64,
    /// VmLck.
    pub locked: u64,
    /// VmRSS.
    pub resident: u64,
    /// Of that, pages of files and shared memory.
    pub resident_files: u64,
    /// VmData: private writable areas.
    pub data: u64,
    /// VmStk.
    pub stack: u64,
    /// VmExe: the program's code.
    pub exe: u64,
    /// VmLib: other executable areas.
    pub lib: u64,
    /// Bytes of shared areas.
    pub shared: u64,
}

impl Mm {
    /// An address space that the loader has filled.
    pub(crate) fn loaded(
        space: Arc<dyn AddressSpace>,
        range: UserRange,
        areas: AreaMap,
        layout: Layout,
        exe: Arc<FileDescription>,
    ) -> Arc<Mm> {
        Self::with_state(space, range, areas, layout, Some(exe))
    }

    /// The places of the program's parts.
    pub fn layout(&self) -> Layout {
        self.state.lock().layout.clone()
    }

    /// Changes them (the loader, prctl(PR_SET_MM)).
    pub fn set_layout(&self, change: impl FnOnce(&mut Layout)) {
        change(&mut self.state.lock().layout);
    }

    /// The program file.
    pub fn exe(&self) -> Option<Arc<FileDescription>> {
        self.state.lock().exe.clone()
    }

    /// Sets the program file (the loader, prctl(PR_SET_MM_EXE_FILE)).
    pub fn set_exe(&self, exe: Option<Arc<FileDescription>>) {
        let _old = std::mem::replace(&mut self.state.lock().exe, exe);
    }

    /// The areas in order, as they are now.
    pub fn areas(&self) -> Vec<Area> {
        self.state.lock().areas.iter().cloned().collect()
    }

    /// The area that holds `addr`.
    pub fn area_at(&self, addr: UserAddr) -> Option<Area> {
        self.state.lock().areas.find(addr.0).cloned()
    }

    /// Sums for /proc.
    pub fn totals(&self) -> Totals {
        let (anonymous, files) = self.resident();
        let mut totals = Totals {
            resident: anonymous + files,
            resident_files: files,
            ..Totals::default()
        };
        let state = self.state.lock();
        totals.size = state.areas.total();
        totals.locked = state.areas.locked();
        totals.data = state.areas.data();
        let code = state.layout.end_code.saturating_sub(state.layout.start_code);
        totals.exe = abi::page_up(code).unwrap_or(0);
        for area in state.areas.iter() {
            if area.flags.contains(AreaFlags::GROWSDOWN) {
                totals.stack += area.len();
            }
            if area.shared() {
                totals.shared += area.len();
            }
            if area.prot.contains(platform::Prot::EXEC) {
                totals.lib += area.len();
            }
        }
        totals.lib = totals.lib.saturating_sub(totals.exe);
        totals
    }
}
