//! The loader with hand-made images, whole and spoilt.

use std::sync::Arc;

use abi::{AbiField, Errno, PAGE_SIZE, UserAddr};
use platform::{MapSource, Prot};

use super::elf::{self, Elf};
use super::load::{Builder, Role};
use super::stack::{self, Arguments, Auxv};
use super::{HEAD, comm_of, script};
use crate::file::{FileDescription, FileOps, MapPiece};
use crate::io::Sink;
use crate::testing::Guest;
use crate::vfs::anon_file;

/// A file of these bytes, which maps as zeroes.
struct Image(Vec<u8>);

impl FileOps for Image {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let take = (self.0.len() - from).min(dst.remaining());
        dst.write(&self.0[from..from + take])
    }
    fn map(&self, _: &FileDescription, _: u64, len: u64, _: bool, _: Prot) -> Result<Vec<MapPiece>, Errno> {
        Ok(vec![MapPiece {
            len,
            source: MapSource::Anonymous,
        }])
    }
}

struct Phdr {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    filesz: u64,
    memsz: u64,
}

fn load(flags: u32, offset: u64, vaddr: u64, filesz: u64, memsz: u64) -> Phdr {
    Phdr {
        kind: 1,
        flags,
        offset,
        vaddr,
        filesz,
        memsz,
    }
}

fn image(kind: u16, entry: u64, headers: &[Phdr], tail: &[u8]) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend(kind.to_le_bytes());
    out.extend(62_u16.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(entry.to_le_bytes());
    out.extend(64_u64.to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, headers.len() as u16, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    for header in headers {
        out.extend(header.kind.to_le_bytes());
        out.extend(header.flags.to_le_bytes());
        for word in [
            header.offset,
            header.vaddr,
            header.vaddr,
            header.filesz,
            header.memsz,
            PAGE_SIZE,
        ] {
            out.extend(word.to_le_bytes());
        }
    }
    out.extend(tail);
    out.resize(out.len().max(0x3000), 0);
    out
}

fn file(guest: &Guest, bytes: Vec<u8>) -> Arc<FileDescription> {
    anon_file(&guest.kernel, "image", Box::new(Image(bytes)), 0)
}

fn parse(guest: &Guest, bytes: Vec<u8>) -> Result<(Elf, Arc<FileDescription>), Errno> {
    let head = bytes[..bytes.len().min(HEAD)].to_vec();
    let file = file(guest, bytes);
    elf::parse(&file, &head, Errno::ENOEXEC).map(|elf| (elf, file))
}

fn good() -> Vec<u8> {
    let headers = [
        load(5, 0, 0x40_0000, 0x500, 0x500),
        load(6, 0x1500, 0x40_2500, 0x100, 0x2000),
    ];
    image(2, 0x40_0100, &headers, b"")
}

#[test]
fn a_static_program_is_placed_where_it_says_with_its_bss() {
    let guest = Guest::new();
    let (elf, file) = parse(&guest, good()).unwrap();
    assert_eq!(elf.phdr, 0x40_0040);
    assert_eq!(elf.span(), (0x40_0000, 0x40_5000));
    let mut builder = Builder::new(guest.kernel.platform.user_range(), true, 8 << 20);
    let placed = builder.add_elf(&elf, &file, Role::Program).unwrap();
    assert_eq!((placed.bias, placed.entry, placed.end), (0, 0x40_0100, 0x40_4500));
    builder.place_heap(placed.end).unwrap();
    builder.add_stack(8 << 20, 0, elf.stack_exec).unwrap();
    let mm = builder.finish(&guest.kernel, file).unwrap();
    let prots: Vec<(u64, u64, Prot)> = mm
        .areas()
        .iter()
        .map(|area| (area.start, area.end, area.prot))
        .collect();
    assert_eq!(prots[0], (0x40_0000, 0x40_1000, Prot::READ | Prot::EXEC));
    assert_eq!(prots[1], (0x40_2000, 0x40_3000, Prot::READ | Prot::WRITE));
    assert_eq!(prots[2], (0x40_3000, 0x40_5000, Prot::READ | Prot::WRITE));
    assert!(mm.layout().start_brk >= 0x40_5000);
    mm.write(UserAddr(0x40_4fff), b"x").unwrap();
}

#[test]
fn position_independent_programs_and_their_linkers_do_not_overlap() {
    let guest = Guest::new();
    let interp = Phdr {
        kind: 3,
        flags: 4,
        offset: 64 + 56 * 2,
        vaddr: 0,
        filesz: 12,
        memsz: 12,
    };
    let headers = [load(5, 0, 0, 0x1000, 0x1000), interp];
    let bytes = image(3, 0x200, &headers, b"/lib/ld.so\0\0");
    let (elf, program) = parse(&guest, bytes).unwrap();
    assert_eq!(elf.interp.as_deref(), Some(&b"/lib/ld.so"[..]));
    let (linker, library) = parse(&guest, image(3, 0x80, &[load(5, 0, 0, 0x800, 0x800)], b"")).unwrap();
    let range = guest.kernel.platform.user_range();
    let mut builder = Builder::new(range, true, 8 << 20);
    let main = builder.add_elf(&elf, &program, Role::Program).unwrap();
    let second = builder.add_elf(&linker, &library, Role::Interpreter).unwrap();
    assert!(main.bias >= range.end.0 / 3 * 2 - PAGE_SIZE && main.entry == main.bias + 0x200);
    assert!(second.bias > main.end && second.entry == second.bias + 0x80);
}

#[test]
fn spoilt_headers_are_refused() {
    let guest = Guest::new();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good();
        change(&mut bytes);
        parse(&guest, bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(&|b| b[1] = b'e'), Errno::ENOEXEC);
    assert_eq!(refused(&|b| b[16] = 1), Errno::ENOEXEC);
    assert_eq!(refused(&|b| b[18] = 3), Errno::ENOEXEC);
    assert_eq!(refused(&|b| b[54] = 55), Errno::ENOEXEC);
    assert_eq!(refused(&|b| b[56] = 0), Errno::ENOEXEC);
    assert_eq!(refused(&|b| b[32..40].fill(0xff)), Errno::ENOEXEC);
    assert_eq!(
        refused(&|b| b[32..40].copy_from_slice(&0x10_0000_u64.to_le_bytes())),
        Errno::EIO
    );
    // More bytes in the file than in memory; an address beyond everything; an offset that does not fit its page.
    assert_eq!(refused(&|b| b[64 + 32] = 1), Errno::EINVAL);
    assert_eq!(refused(&|b| b[64 + 16 + 7] = 0xff), Errno::EINVAL);
    assert_eq!(refused(&|b| b[64 + 8] = 1), Errno::EINVAL);
    let short = good()[..70].to_vec();
    assert_eq!(parse(&guest, short).map(|_| ()).unwrap_err(), Errno::EIO);
}

#[test]
fn no_mutation_of_an_image_makes_the_loader_panic() {
    let guest = Guest::new();
    let original = good();
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..20_000 {
        let mut bytes = original.clone();
        for _ in 0..1 + random() % 6 {
            let at = (random() % (64 + 2 * 56)) as usize;
            bytes[at] = match random() % 4 {
                0 => 0,
                1 => 0xff,
                2 => 0x7f,
                _ => random() as u8,
            };
        }
        let Ok((elf, file)) = parse(&guest, bytes) else {
            continue;
        };
        let mut builder = Builder::new(guest.kernel.platform.user_range(), true, 8 << 20);
        // Only planned, not made: a hostile image may ask for terabytes.
        if let Ok(placed) = builder.add_elf(&elf, &file, Role::Program) {
            let _ = builder.place_heap(placed.end);
            let _ = builder.add_stack(8 << 20, 0, false);
        }
    }
}

fn head(text: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..text.len()].copy_from_slice(text);
    head
}

#[test]
fn first_lines_of_scripts_are_read_as_linux_reads_them() {
    let parsed = |text: &[u8]| script::parse(&head(text)).map(|script| (script.interpreter, script.argument));
    let found = |name: &[u8], argument: Option<&[u8]>| Ok((name.to_vec(), argument.map(<[u8]>::to_vec)));
    assert_eq!(parsed(b"#!/bin/sh\necho"), found(b"/bin/sh", None));
    assert_eq!(
        parsed(b"#! \t/bin/sh  -e  x \t\n"),
        found(b"/bin/sh", Some(b"-e  x"))
    );
    assert_eq!(parsed(b"#!/bin/sh -e"), found(b"/bin/sh", Some(b"-e")));
    assert_eq!(parsed(b"#!/bin/sh"), found(b"/bin/sh", None));
    assert_eq!(parsed(b"#!\n"), Err(Errno::ENOEXEC));
    assert_eq!(parsed(b"#!   \t\n"), Err(Errno::ENOEXEC));
    let mut long = b"#!".to_vec();
    long.resize(HEAD, b'a');
    assert_eq!(parsed(&long), Err(Errno::ENOEXEC));
    long[200] = b' ';
    let (name, argument) = parsed(&long).unwrap();
    assert_eq!(
        (name.len(), argument.map(|text| text.len())),
        (198, Some(HEAD - 202))
    );
}

#[test]
fn the_stack_holds_what_the_abi_says() {
    let arguments = Arguments {
        argv: vec![b"prog".to_vec(), b"".to_vec()],
        envp: vec![b"A=1".to_vec()],
    };
    let mut auxv = Auxv::default();
    auxv.push(Auxv::PAGESZ, PAGE_SIZE);
    let top = 0x7fff_f000;
    let image = stack::build(top, &arguments, b"/bin/prog", auxv, [7; 16], 0x230);
    assert!(image.sp.is_multiple_of(16) && image.sp + image.bytes.len() as u64 == top);
    let word = |index: usize| u64::get(&image.bytes[index * 8..]);
    let text = |at: u64| {
        let from = (at - image.sp) as usize;
        let end = image.bytes[from..].iter().position(|byte| *byte == 0).unwrap();
        image.bytes[from..from + end].to_vec()
    };
    assert_eq!(word(0), 2);
    assert_eq!(
        (text(word(1)), text(word(2)), word(3)),
        (b"prog".to_vec(), b"".to_vec(), 0)
    );
    assert_eq!((text(word(4)), word(5)), (b"A=1".to_vec(), 0));
    assert_eq!((word(6), word(7)), (Auxv::PAGESZ, PAGE_SIZE));
    let entry = |kind: u64| {
        (6..)
            .step_by(2)
            .find(|index| word(*index) == kind)
            .map(|index| word(index + 1))
            .unwrap()
    };
    assert_eq!(text(entry(Auxv::EXECFN)), b"/bin/prog");
    assert_eq!(text(entry(Auxv::PLATFORM)), b"x86_64");
    let random = (entry(Auxv::RANDOM) - image.sp) as usize;
    assert_eq!(image.bytes[random..random + 16], [7; 16]);
    assert_eq!((image.args.0, image.args.1), (word(1), image.env.0));
    assert_eq!(image.bytes[image.bytes.len() - 8..], [0; 8]);
}

#[test]
fn arguments_have_limits() {
    let one = |len: usize| Arguments {
        argv: vec![vec![b'a'; len]],
        envp: Vec::new(),
    };
    assert_eq!(one(32 * 4096 - 1).check(8 << 20), Ok(()));
    assert_eq!(one(32 * 4096).check(8 << 20), Err(Errno::E2BIG));
    let many = Arguments {
        argv: vec![vec![b'a'; 1000]; 3000],
        envp: Vec::new(),
    };
    assert_eq!(many.check(8 << 20), Err(Errno::E2BIG));
    assert_eq!(many.check(16 << 20), Ok(()));
    assert_eq!(comm_of(b"/usr/bin/a-very-long-program-name"), b"a-very-long-pro");
}

#[test]
fn execve_reads_lists_and_reports_what_is_wrong() {
    let guest = Guest::new();
    let arguments = |argv: u64, envp: u64| super::read_arguments(&guest.task, UserAddr(argv), UserAddr(envp));
    let (one, two) = (guest.string("one"), guest.string("two"));
    let mut list = Vec::new();
    for at in [one.0, two.0, 0] {
        list.extend(at.to_le_bytes());
    }
    let list = guest.bytes(&list);
    let read = arguments(list.0, 0).unwrap();
    assert_eq!((read.argv.len(), read.envp.len()), (2, 0));
    assert_eq!(arguments(0, 0).unwrap().argv, [Vec::<u8>::new()]);
    assert_eq!(arguments(guest.bad().0, 0).unwrap_err(), Errno::EFAULT);
    let bad = guest.bytes(&guest.bad().0.to_le_bytes());
    assert_eq!(arguments(bad.0, 0).unwrap_err(), Errno::EFAULT);
    let path = guest.string("/nothing");
    assert_eq!(guest.call("execve", &[path.0, list.0, 0]), Err(Errno::ENOENT));
    let root = guest.string("/");
    assert_eq!(guest.call("execve", &[root.0, list.0, 0]), Err(Errno::EACCES));
    assert_eq!(guest.call("execveat", &[0, root.0, 0, 0, 7]), Err(Errno::EINVAL));
}
