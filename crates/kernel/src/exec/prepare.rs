//! Everything of execve(2) that can fail: the new address space is complete before the old one is given up.

use std::sync::Arc;

use abi::{Errno, UserAddr};
use platform::Registers;

use super::elf::{self, Elf, PHENT};
use super::load::{Builder, Placed, Role};
use super::open::{Program, open_program};
use super::stack::{self, Arguments, Auxv};
use super::{hardware, script};
use crate::Kernel;
use crate::cred::{Credentials, FileCaps};
use crate::mm::Mm;
use crate::random;
use crate::vfs::{LookupFlags, Walker, permission};

/// Interpreters in a row (a script whose interpreter is a script …) before `ELOOP`.
const MAX_INTERPRETERS: u32 = 5;
/// ADDR_NO_RANDOMIZE of personality(2).
const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
/// Clock ticks a second, as AT_CLKTCK says.
const USER_HZ: u64 = 100;
/// Code and stack segments of 64-bit user code.
const USER_CS: u64 = 0x33;
/// See [`USER_CS`].
const USER_SS: u64 = 0x2b;
/// Interrupts on, and the bit that is always set.
const START_FLAGS: u64 = 0x202;

/// What of the caller matters for loading.
pub struct Caller<'a> {
    /// Who looks files up.
    pub walker: &'a Walker<'a>,
    /// RLIMIT_STACK.
    pub stack_limit: u64,
    /// personality(2).
    pub personality: u32,
    /// PR_SET_NO_NEW_PRIVS, or somebody could use the new privileges for the caller.
    pub no_new_privs: bool,
}

/// A program that only needs to be switched to.
pub struct Prepared {
    /// Its address space.
    pub mm: Arc<Mm>,
    /// Its first registers.
    pub regs: Registers,
    /// Its credentials.
    pub cred: Credentials,
    /// They are more than the caller's (AT_SECURE).
    pub secure: bool,
    /// The caller may read the program: what is in its memory is no secret.
    pub readable: bool,
}

/// Follows `#!` lines until an ELF file; changes the arguments as Linux does.
/// `name` is the path as the program would see it; `inaccessible`: it will not exist after the exec (a
/// close-on-exec descriptor).
fn interpret(
    walker: &Walker<'_>,
    mut program: Program,
    name: &[u8],
    inaccessible: bool,
    arguments: &mut Arguments,
) -> Result<Program, Errno> {
    let mut name = name.to_vec();
    for _ in 0..=MAX_INTERPRETERS {
        if !script::is_script(program.head()) {
            return Ok(program);
        }
        let script = script::parse(&program.head)?;
        if inaccessible {
            return Err(Errno::ENOENT);
        }
        let mut argv = vec![script.interpreter.clone()];
        argv.extend(script.argument);
        argv.push(std::mem::replace(&mut name, script.interpreter.clone()));
        argv.extend(arguments.argv.drain(..).skip(1));
        arguments.argv = argv;
        program = open_program(walker, None, &script.interpreter, LookupFlags::FOLLOW)?;
    }
    Err(Errno::ELOOP)
}

/// Opens the dynamic linker of a program. What is no ELF file is `ELIBBAD`.
fn open_interpreter(walker: &Walker<'_>, path: &[u8]) -> Result<(Program, Elf), Errno> {
    let program = open_program(walker, None, path, LookupFlags::FOLLOW)?;
    let elf = elf::parse(&program.file, program.head(), Errno::ELIBBAD)?;
    Ok((program, elf))
}

/// Loads `program` (found as `name`) with `arguments` into a new address space.
pub fn prepare(
    kernel: &Kernel,
    caller: &Caller<'_>,
    program: Program,
    name: &[u8],
    inaccessible: bool,
    mut arguments: Arguments,
) -> Result<Prepared, Errno> {
    let walker = caller.walker;
    let program = interpret(walker, program, name, inaccessible, &mut arguments)?;
    arguments.check(caller.stack_limit)?;
    let elf = elf::parse(&program.file, program.head(), Errno::ENOEXEC)?;
    let interpreter = match &elf.interp {
        Some(path) => Some(open_interpreter(walker, path)?),
        None => None,
    };
    let inode = program.file.path().inode()?;
    let attr = inode.attr()?;
    const MAY_READ: u32 = 4;
    let readable = permission(&walker.cred, &inode, MAY_READ).is_ok();
    let caps = if file_caps_count(&walker.cred, &program, caller.no_new_privs) {
        let bytes = inode.ops.get_xattr(b"security.capability").ok();
        bytes.and_then(|bytes| FileCaps::parse(&bytes))
    } else {
        None
    };
    let (cred, secure) = walker
        .cred
        .on_exec(&attr, caps, program.nosuid(), caller.no_new_privs);

    let randomize = caller.personality & ADDR_NO_RANDOMIZE == 0;
    let mut builder = Builder::new(kernel.platform.user_range(), randomize, caller.stack_limit);
    let main = builder.add_elf(&elf, &program.file, Role::Program)?;
    note_code(&mut builder, &elf, main);
    // A program that was placed among the mappings (a static one, or the dynamic linker run by itself) has its heap where
    // others have their code: above it there would be no room.
    let heap = if elf.relocatable && elf.interp.is_none() {
        builder.program_base()
    } else {
        main.end
    };
    builder.place_heap(heap)?;
    let linker = match &interpreter {
        Some((file, elf)) => Some(builder.add_elf(elf, &file.file, Role::Interpreter)?),
        None => None,
    };
    let fixed = !elf.relocatable && elf.interp.is_none();
    let vdso = builder.add_vdso(kernel, fixed.then(|| elf.span().0))?;
    let auxv = auxv(kernel, &elf, main, linker, vdso, &cred, secure);
    let slide = if randomize { random::number() & 0x1ff0 } else { 0 };
    let image = stack::build(builder.stack_top(), &arguments, name, auxv, random_bytes(), slide);
    builder.add_stack(caller.stack_limit, image.bytes.len() as u64, elf.stack_exec)?;
    let layout = builder.layout();
    layout.start_stack = image.sp;
    (layout.arg_start, layout.arg_end) = image.args;
    (layout.env_start, layout.env_end) = image.env;
    layout.auxv = image.auxv;
    let mm = builder.finish(kernel, program.file)?;
    mm.write(UserAddr(image.sp), &image.bytes)?;
    let regs = Registers {
        rip: linker.unwrap_or(main).entry,
        rsp: image.sp,
        eflags: START_FLAGS,
        cs: USER_CS,
        ss: USER_SS,
        orig_rax: u64::MAX,
        ..Registers::default()
    };
    Ok(Prepared {
        mm,
        regs,
        cred,
        secure,
        readable,
    })
}

/// Whether a file's capabilities could change anything: root has them all, and some programs may gain none.
fn file_caps_count(cred: &Credentials, program: &Program, no_new_privs: bool) -> bool {
    const SECBIT_NOROOT: u32 = 1;
    let is_root = |uid: u32| cred.user_ns.root() == Some(uid);
    let root = is_root(cred.uid) && is_root(cred.euid) && cred.securebits & SECBIT_NOROOT == 0;
    !root && !no_new_privs && !program.nosuid()
}

fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    bytes
}

/// Notes where code and data lie, as /proc/PID/stat shows it.
fn note_code(builder: &mut Builder, elf: &Elf, main: Placed) {
    let layout = builder.layout();
    (layout.start_code, layout.end_code) = (u64::MAX, 0);
    for segment in &elf.segments {
        let start = segment.vaddr.wrapping_add(main.bias);
        let end = start.wrapping_add(segment.filesz);
        layout.start_code = layout.start_code.min(start);
        if segment.prot.contains(platform::Prot::EXEC) {
            layout.end_code = layout.end_code.max(end);
        }
        layout.start_data = layout.start_data.max(start);
        layout.end_data = layout.end_data.max(end);
    }
}

fn auxv(
    kernel: &Kernel,
    elf: &Elf,
    main: Placed,
    linker: Option<Placed>,
    vdso: Option<u64>,
    cred: &Credentials,
    secure: bool,
) -> Auxv {
    let mut auxv = Auxv::default();
    if let Some(header) = vdso {
        auxv.push(Auxv::SYSINFO_EHDR, header);
    }
    let (xstate_len, _) = kernel.platform.xstate_layout();
    auxv.push(Auxv::MINSIGSTKSZ, hardware::min_signal_stack(xstate_len));
    auxv.push(Auxv::HWCAP, hardware::hwcap());
    auxv.push(Auxv::PAGESZ, abi::PAGE_SIZE);
    auxv.push(Auxv::CLKTCK, USER_HZ);
    let phdr = if elf.phdr == 0 {
        0
    } else {
        elf.phdr.wrapping_add(main.bias)
    };
    auxv.push(Auxv::PHDR, phdr);
    auxv.push(Auxv::PHENT, PHENT);
    auxv.push(Auxv::PHNUM, u64::from(elf.phnum));
    auxv.push(Auxv::BASE, linker.map_or(0, |placed| placed.bias));
    auxv.push(Auxv::FLAGS, 0);
    auxv.push(Auxv::ENTRY, main.entry);
    auxv.push(Auxv::UID, u64::from(cred.user_ns.shown_uid(cred.uid)));
    auxv.push(Auxv::EUID, u64::from(cred.user_ns.shown_uid(cred.euid)));
    auxv.push(Auxv::GID, u64::from(cred.user_ns.shown_gid(cred.gid)));
    auxv.push(Auxv::EGID, u64::from(cred.user_ns.shown_gid(cred.egid)));
    auxv.push(Auxv::SECURE, u64::from(secure));
    auxv.push(Auxv::HWCAP2, hardware::HWCAP2);
    if let Some(rseq) = crate::syscall::rseq_features(kernel).filter(|rseq| rseq.size != 0) {
        auxv.push(Auxv::RSEQ_FEATURE_SIZE, u64::from(rseq.size));
        auxv.push(Auxv::RSEQ_ALIGN, u64::from(rseq.align));
    }
    auxv
}
