//! ELF headers (elf(5)), read from a hostile file: each field is checked before it is used.

use abi::{AbiField, Errno, PAGE_SIZE, abi_struct, page_down, page_up};
use platform::Prot;

use crate::file::FileDescription;
use crate::io::VecSink;

const MAGIC: [u8; 4] = *b"\x7fELF";
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
/// Bytes of program headers that are read at most (Linux: ELF_MIN_ALIGN 64 KiB).
const MAX_HEADERS: usize = 65536;
/// Longest interpreter path, with its NUL.
const MAX_INTERP: u64 = 4096;
/// Largest alignment of a segment that is honoured; more would only waste address space.
const MAX_ALIGN: u64 = 1 << 30;
/// No segment of a valid program lies above this.
const LIMIT: u64 = super::super::mm::TASK_SIZE;

abi_struct! {
    /// `Elf64_Ehdr` after `e_ident`.
    struct Header {
        kind: u16, machine: u16, version: u32, entry: u64, phoff: u64, shoff: u64, flags: u32,
        ehsize: u16, phentsize: u16, phnum: u16, shentsize: u16, shnum: u16, shstrndx: u16,
    }
}

abi_struct! {
    /// `Elf64_Phdr`.
    struct ProgramHeader {
        kind: u32, flags: u32, offset: u64, vaddr: u64, paddr: u64, filesz: u64, memsz: u64, align: u64,
    }
}

/// Bytes of `Elf64_Phdr`.
pub const PHENT: u64 = 56;

/// A PT_LOAD segment whose fields have been checked: sums do not overflow, offsets fit pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address before relocation.
    pub vaddr: u64,
    /// Position in the file.
    pub offset: u64,
    /// Bytes from the file.
    pub filesz: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// Access.
    pub prot: Prot,
}

/// What a valid ELF file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Entry point before relocation.
    pub entry: u64,
    /// Whether it can be loaded anywhere (ET_DYN).
    pub relocatable: bool,
    /// At least one, in the file's order.
    pub segments: Vec<Segment>,
    /// PT_INTERP.
    pub interp: Option<Vec<u8>>,
    /// PT_GNU_STACK asks for an executable stack.
    pub stack_exec: bool,
    /// Address of the program headers in memory before relocation; 0 when they are not loaded.
    pub phdr: u64,
    /// Number of program headers.
    pub phnum: u16,
    /// Largest alignment of its segments.
    pub align: u64,
}

impl Elf {
    /// The page range that all segments lie in, before relocation.
    pub fn span(&self) -> (u64, u64) {
        let low = self.segments.iter().map(|segment| page_down(segment.vaddr)).min();
        let ends = self.segments.iter().map(|segment| segment.vaddr + segment.memsz);
        let high = ends.max().and_then(page_up);
        (low.unwrap_or(0), high.unwrap_or(0))
    }
}

/// Reads exactly `len` bytes at `offset`; `short` when the file ends before.
pub fn read_exact(file: &FileDescription, offset: u64, len: usize, short: Errno) -> Result<Vec<u8>, Errno> {
    let bytes = read_up_to(file, offset, len)?;
    if bytes.len() < len { Err(short) } else { Ok(bytes) }
}

/// Reads at most `len` bytes at `offset`: fewer at the end of the file.
pub fn read_up_to(file: &FileDescription, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut sink = VecSink::new(len);
    while sink.bytes.len() < len {
        let at = offset.checked_add(sink.bytes.len() as u64).ok_or(Errno::EINVAL)?;
        if file.ops().read(file, at, &mut sink)? == 0 {
            break;
        }
    }
    Ok(sink.bytes)
}

/// Whether the bytes begin like an ELF file.
pub fn is_elf(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

/// Reads and checks the headers of an ELF file that begins with `head`. `bad` is the errno for what is no
/// valid x86-64 program: `ENOEXEC`, or `ELIBBAD` for an interpreter.
pub fn parse(file: &FileDescription, head: &[u8], bad: Errno) -> Result<Elf, Errno> {
    let header = match head.get(16..16 + Header::SIZE) {
        Some(bytes) if is_elf(head) => Header::get(bytes),
        _ => return Err(bad),
    };
    let size = usize::from(header.phnum) * PHENT as usize;
    if !matches!(header.kind, ET_EXEC | ET_DYN)
        || header.machine != EM_X86_64
        || u64::from(header.phentsize) != PHENT
        || size == 0
        || size > MAX_HEADERS
        || i64::try_from(header.phoff).is_err()
    {
        return Err(bad);
    }
    let bytes = match usize::try_from(header.phoff)
        .ok()
        .and_then(|from| head.get(from..from.checked_add(size)?))
    {
        Some(there) => there.to_vec(),
        None => read_exact(file, header.phoff, size, Errno::EIO)?,
    };
    let headers: Vec<ProgramHeader> = bytes
        .chunks_exact(ProgramHeader::SIZE)
        .map(ProgramHeader::get)
        .collect();
    let mut elf = Elf {
        entry: header.entry,
        relocatable: header.kind == ET_DYN,
        segments: Vec::new(),
        interp: None,
        stack_exec: false,
        phdr: 0,
        phnum: header.phnum,
        align: PAGE_SIZE,
    };
    for program in &headers {
        take(&mut elf, file, program)?;
    }
    if elf.segments.is_empty() {
        return Err(bad);
    }
    if elf.phdr == 0 {
        elf.phdr = loaded_at(&elf.segments, header.phoff);
    }
    Ok(elf)
}

/// The address at which the file's byte `offset` is loaded; 0 when it is not.
fn loaded_at(segments: &[Segment], offset: u64) -> u64 {
    let holds = |s: &&Segment| offset >= s.offset && offset - s.offset < s.filesz;
    let address = |s: &Segment| (offset - s.offset).wrapping_add(s.vaddr);
    segments.iter().find(holds).map_or(0, address)
}

fn take(elf: &mut Elf, file: &FileDescription, program: &ProgramHeader) -> Result<(), Errno> {
    match program.kind {
        PT_LOAD => {
            if let Some(segment) = segment(program)? {
                elf.segments.push(segment);
            }
            if program.align.is_power_of_two() && program.align <= MAX_ALIGN {
                elf.align = elf.align.max(program.align);
            }
        }
        PT_INTERP if elf.interp.is_none() => {
            if program.filesz < 2 || program.filesz > MAX_INTERP || i64::try_from(program.offset).is_err() {
                return Err(Errno::ENOEXEC);
            }
            let mut path = read_exact(file, program.offset, program.filesz as usize, Errno::EIO)?;
            if path.pop() != Some(0) {
                return Err(Errno::ENOEXEC);
            }
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            path.truncate(end);
            elf.interp = Some(path);
        }
        PT_GNU_STACK => elf.stack_exec = program.flags & PF_X != 0,
        PT_PHDR => elf.phdr = program.vaddr,
        _ => {}
    }
    Ok(())
}

/// Checks a PT_LOAD header; `None` for an empty one.
fn segment(program: &ProgramHeader) -> Result<Option<Segment>, Errno> {
    let fits = |start: u64, len: u64| start.checked_add(len).is_some_and(|end| end <= LIMIT);
    if program.filesz > program.memsz
        || !fits(program.vaddr, program.memsz)
        || i64::try_from(program.offset).is_err()
        || i64::try_from(program.filesz).is_err()
        || program.vaddr % PAGE_SIZE != program.offset % PAGE_SIZE
    {
        return Err(Errno::EINVAL);
    }
    if program.memsz == 0 {
        return Ok(None);
    }
    let mut prot = Prot::empty();
    prot.set(Prot::READ, program.flags & PF_R != 0);
    prot.set(Prot::WRITE, program.flags & PF_W != 0);
    prot.set(Prot::EXEC, program.flags & PF_X != 0);
    Ok(Some(Segment {
        vaddr: program.vaddr,
        offset: program.offset,
        filesz: program.filesz,
        memsz: program.memsz,
        prot,
    }))
}
