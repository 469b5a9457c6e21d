//! Placing a program: from checked ELF headers to areas and one batch of mapping commands.

use std::sync::Arc;

use abi::{Errno, PAGE_SIZE, UserAddr, page_down, page_up};
use platform::{MapFlags, MapOp, MapSource, Prot, UserRange};

use super::elf::{Elf, Segment};
use crate::Kernel;
use crate::file::FileDescription;
use crate::mm::{Area, AreaFlags, AreaMap, AreaName, Backing, Layout, Mm};

/// Pages by which the stack's top is moved (16 GiB).
const STACK_RANDOM: u64 = 1 << 22;
/// Pages by which the mapping area's top is moved (1 TiB).
const MMAP_RANDOM: u64 = 1 << 28;
/// Pages by which a position-independent program is moved (1 TiB).
const PIE_RANDOM: u64 = 1 << 28;
/// Pages by which the heap is moved (32 MiB).
const BRK_RANDOM: u64 = 1 << 13;
/// The stack that is mapped at once; it grows on faults up to RLIMIT_STACK.
pub const STACK_MAPPED: u64 = 8 << 20;
/// Address space kept free below the stack's top for growth: at least this, at most `STACK_GAP_MAX`.
const STACK_GAP_MIN: u64 = 128 << 20;
/// See `STACK_GAP_MIN`.
const STACK_GAP_MAX: u64 = 1 << 40;

/// A random number of pages below `pages`, in bytes.
fn random_pages(pages: u64) -> u64 {
    crate::random::number().checked_rem(pages).unwrap_or(0) * PAGE_SIZE
}

/// An address space that is being put together: nothing has been commanded yet.
pub struct Builder {
    range: UserRange,
    random: bool,
    areas: AreaMap,
    ops: Vec<MapOp>,
    /// Ranges to be zeroed once mapped, and whether the guest could tell that they were not.
    zeroes: Vec<(u64, u64, bool)>,
    layout: Layout,
    stack_top: u64,
}

/// Where an ELF file was placed.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// What was added to its addresses.
    pub bias: u64,
    /// Entry point.
    pub entry: u64,
    /// End of its last segment's memory.
    pub end: u64,
}

impl Builder {
    /// An empty plan. `random`: whether to randomise addresses. `stack_limit`: RLIMIT_STACK.
    pub fn new(range: UserRange, random: bool, stack_limit: u64) -> Builder {
        let slide = |pages: u64| if random { random_pages(pages) } else { 0 };
        let stack_top = page_down(range.end.0) - slide(STACK_RANDOM);
        let gap = page_down(stack_limit.clamp(STACK_GAP_MIN, STACK_GAP_MAX));
        let layout = Layout {
            mmap_base: stack_top - gap - slide(MMAP_RANDOM),
            ..Layout::default()
        };
        Builder {
            range,
            random,
            areas: AreaMap::default(),
            ops: Vec::new(),
            zeroes: Vec::new(),
            layout,
            stack_top,
        }
    }

    fn slide(&self, pages: u64) -> u64 {
        if self.random { random_pages(pages) } else { 0 }
    }

    /// The stack's end.
    pub fn stack_top(&self) -> u64 {
        self.stack_top
    }

    /// Where position-independent programs begin, before they are moved (ELF_ET_DYN_BASE).
    pub fn program_base(&self) -> u64 {
        page_down(self.range.end.0 / 3 * 2)
    }

    /// The places chosen so far.
    pub fn layout(&mut self) -> &mut Layout {
        &mut self.layout
    }

    /// Room for `len` bytes below the mapping base.
    fn find_gap(&mut self, len: u64, align: u64) -> Result<u64, Errno> {
        let bounds = (self.range.start.0, self.layout.mmap_base);
        self.areas
            .gap_below(len, align, bounds, true)
            .ok_or(Errno::ENOMEM)
    }

    fn check_inside(&self, start: u64, end: u64) -> Result<(), Errno> {
        if start >= self.range.start.0 && end <= self.range.end.0 && start < end {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// Chooses the bias of an ELF file and maps its segments.
    pub fn add_elf(&mut self, elf: &Elf, file: &Arc<FileDescription>, role: Role) -> Result<Placed, Errno> {
        let (low, high) = elf.span();
        let len = high
            .checked_sub(low)
            .filter(|len| *len > 0)
            .ok_or(Errno::EINVAL)?;
        let bias = if !elf.relocatable {
            0
        } else if role == Role::Program && elf.interp.is_some() {
            let base = self.program_base() + self.slide(PIE_RANDOM);
            (base & !(elf.align - 1)).wrapping_sub(low)
        } else {
            self.find_gap(len, elf.align)?.wrapping_sub(low)
        };
        self.check_inside(low.wrapping_add(bias), high.wrapping_add(bias))?;
        for segment in &elf.segments {
            self.add_segment(segment, bias, file)?;
        }
        let ends = elf.segments.iter().map(|segment| segment.vaddr + segment.memsz);
        Ok(Placed {
            bias,
            entry: elf.entry.wrapping_add(bias),
            end: ends.max().unwrap_or(high).wrapping_add(bias),
        })
    }

    /// Maps the file part of a segment and the zeroes after it. `bias` was checked to keep it inside the range.
    fn add_segment(
        &mut self,
        segment: &Segment,
        bias: u64,
        file: &Arc<FileDescription>,
    ) -> Result<(), Errno> {
        let vaddr = segment.vaddr.wrapping_add(bias);
        let (file_end, memory_end) = (vaddr + segment.filesz, vaddr + segment.memsz);
        let start = page_down(vaddr);
        let mapped_end = if segment.filesz > 0 {
            page_up(file_end).ok_or(Errno::EINVAL)?
        } else {
            start
        };
        let end = page_up(memory_end).ok_or(Errno::EINVAL)?;
        if mapped_end > start {
            let offset = page_down(segment.offset);
            let pieces = file
                .ops()
                .map(file, offset, mapped_end - start, false, segment.prot)
                .map_err(|errno| {
                    if errno == Errno::ENODEV {
                        Errno::ENOEXEC
                    } else {
                        errno
                    }
                })?;
            let backing = Backing::File {
                file: file.clone(),
                offset,
            };
            self.add_area(start, mapped_end, segment.prot, backing, AreaName::None);
            let mut at = start;
            for piece in pieces {
                let len = piece.len.min(mapped_end - at);
                self.add_op(at, len, segment.prot, piece.source);
                at += len;
            }
        }
        if end > mapped_end {
            self.add_area(mapped_end, end, segment.prot, Backing::Anonymous, AreaName::None);
            self.add_op(mapped_end, end - mapped_end, segment.prot, MapSource::Anonymous);
        }
        if memory_end > file_end && mapped_end > file_end {
            let visible = segment.prot.contains(Prot::WRITE);
            self.zeroes.push((file_end, mapped_end - file_end, visible));
        }
        Ok(())
    }

    fn add_area(&mut self, start: u64, end: u64, prot: Prot, backing: Backing, name: AreaName) {
        // A later segment replaces what it overlaps, as the mapping commands do.
        let _replaced = self.areas.remove(start, end);
        self.areas.insert(Area {
            start,
            end,
            prot,
            // The engine's pages are shared by processes.
            max_prot: if matches!(backing, Backing::Vdso) {
                Prot::READ | Prot::EXEC
            } else {
                Prot::all()
            },
            flags: AreaFlags::empty(),
            backing,
            name,
        });
    }

    fn add_op(&mut self, at: u64, len: u64, prot: Prot, source: MapSource) {
        if len > 0 {
            self.ops.push(MapOp::Map {
                addr: UserAddr(at),
                len,
                prot,
                flags: MapFlags::empty(),
                source,
            });
        }
    }

    /// Places the heap (empty) after the program.
    pub fn place_heap(&mut self, program_end: u64) -> Result<(), Errno> {
        let end = page_up(program_end).ok_or(Errno::ENOMEM)?;
        let brk = end.saturating_add(self.slide(BRK_RANDOM)).min(self.range.end.0);
        (self.layout.start_brk, self.layout.brk) = (brk, brk);
        Ok(())
    }

    /// Maps the stack below its top.
    pub fn add_stack(&mut self, stack_limit: u64, used: u64, executable: bool) -> Result<(), Errno> {
        let len = page_up(stack_limit.min(STACK_MAPPED).max(used + STACK_SLACK)).ok_or(Errno::ENOMEM)?;
        let start = self.stack_top - len;
        let mut prot = Prot::READ | Prot::WRITE;
        prot.set(Prot::EXEC, executable);
        if !self.areas.is_free(start, self.stack_top) {
            return Err(Errno::ENOMEM);
        }
        self.areas.insert(Area {
            start,
            end: self.stack_top,
            prot,
            max_prot: Prot::all(),
            flags: AreaFlags::GROWSDOWN | AreaFlags::STACK | AreaFlags::NORESERVE,
            backing: Backing::Anonymous,
            name: AreaName::Stack,
        });
        self.add_op(start, len, prot, MapSource::Anonymous);
        Ok(())
    }

    /// Maps the engine's vDSO, if it has one; returns the address of its ELF header. The engine's shortcuts reach two
    /// gigabytes from there: below `program`, where all code of a program at a fixed address lies, if that is given.
    pub fn add_vdso(&mut self, kernel: &Kernel, program: Option<u64>) -> Result<Option<u64>, Errno> {
        let Some(vdso) = kernel.platform.vdso() else {
            return Ok(None);
        };
        let low = (self.range.start.0, program.unwrap_or(0));
        let start = match self.areas.gap_below(vdso.len, PAGE_SIZE, low, false) {
            Some(start) if program.is_some() => start,
            _ => self.find_gap(vdso.len, PAGE_SIZE)?,
        };
        let header = start + vdso.elf_offset.min(vdso.len);
        if header > start {
            self.add_area(start, header, Prot::READ, Backing::Vdso, AreaName::Vvar);
        }
        let prot = Prot::READ | Prot::EXEC;
        if start + vdso.len > header {
            self.add_area(header, start + vdso.len, prot, Backing::Vdso, AreaName::Vdso);
        }
        self.add_op(start, vdso.len, prot, MapSource::Vdso);
        self.layout.vdso = header;
        Ok(Some(header))
    }

    /// Makes the address space: one batch of commands, then the zeroes.
    pub fn finish(self, kernel: &Kernel, exe: Arc<FileDescription>) -> Result<Arc<Mm>, Errno> {
        let space = kernel.platform.new_address_space()?;
        space.apply(&self.ops).map_err(|(_, errno)| errno)?;
        let zero_page = [0; PAGE_SIZE as usize];
        for (at, len, visible) in self.zeroes {
            let zeroes = zero_page.get(..len as usize).unwrap_or(&zero_page);
            let done = space.write_force(UserAddr(at), zeroes);
            if visible && done != Ok(zeroes.len()) {
                return Err(Errno::EFAULT);
            }
        }
        Ok(Mm::loaded(space, self.range, self.areas, self.layout, exe))
    }
}

/// Stack beyond the arguments that a program always gets (Linux: stack_guard_gap and 128 KiB).
const STACK_SLACK: u64 = 132 << 10;

/// What an ELF file is loaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The program.
    Program,
    /// The program's interpreter (the dynamic linker).
    Interpreter,
}
