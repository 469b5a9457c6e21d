//! The vDSO image: an ELF shared object made at start-up from the code of `vdso.s`.
//!
//! One page: headers, dynamic section and symbols, then the code. C libraries look symbols up by name and by the
//! version `LINUX_2.6` through DT_HASH. It has no section headers and no unwind tables.

use std::arch::global_asm;

use crate::clock::field;

/// Bytes of the image.
pub const IMAGE_LEN: usize = 0x1000;
/// Offset of the code in it.
const CODE_AT: usize = 0x600;

global_asm!(
    include_str!("vdso.s"),
    CODE_AT = const CODE_AT,
    SEQ = const field::SEQ,
    BASE = const field::BASE,
    WINDOW = const field::WINDOW,
    MULT = const field::MULT,
    REAL = const field::REAL,
    MONO = const field::MONO,
    BOOT = const field::BOOT,
);

unsafe extern "C" {
    static tegmen_vdso_start: u8;
    static tegmen_vdso_end: u8;
    static tegmen_vdso_clock_gettime: u8;
    static tegmen_vdso_gettimeofday: u8;
    static tegmen_vdso_time: u8;
    static tegmen_vdso_clock_getres: u8;
    static tegmen_vdso_getcpu: u8;
}

const SONAME: &str = "linux-vdso.so.1";
const VERSION: &str = "LINUX_2.6";

fn offset_of(symbol: &u8) -> u64 {
    // SAFETY: the address of the first byte of the code; nothing is read.
    let start = std::ptr::from_ref(unsafe { &tegmen_vdso_start }) as u64;
    std::ptr::from_ref(symbol) as u64 - start
}

/// Names and their offsets in the code.
fn functions() -> [(&'static str, u64); 5] {
    // SAFETY: addresses of symbols in the code; nothing is read.
    let all: [(&str, &u8); 5] = unsafe {
        [
            ("__vdso_clock_gettime", &tegmen_vdso_clock_gettime),
            ("__vdso_gettimeofday", &tegmen_vdso_gettimeofday),
            ("__vdso_time", &tegmen_vdso_time),
            ("__vdso_clock_getres", &tegmen_vdso_clock_getres),
            ("__vdso_getcpu", &tegmen_vdso_getcpu),
        ]
    };
    all.map(|(name, symbol)| (name, offset_of(symbol)))
}

/// The hash of the ELF specification.
fn elf_hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| {
        let next = (hash << 4).wrapping_add(u32::from(byte));
        let high = next & 0xf000_0000;
        (next ^ (high >> 24)) & !high
    })
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, values: &[u16]) {
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
    }
    fn u32(&mut self, values: &[u32]) {
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
    }
    fn u64(&mut self, values: &[u64]) {
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
    }
    fn align(&mut self) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.0.len() as u64
    }
}

/// Builds the image.
pub fn image() -> Vec<u8> {
    const HEADERS: usize = 64 + 2 * 56;
    let functions = functions();
    let mut strings = String::from("\0");
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.push_str(text);
        strings.push('\0');
        at
    };
    let (soname, version) = (name(SONAME), name(VERSION));
    let names: Vec<u32> = functions.iter().map(|(text, _)| name(text)).collect();
    let mut b = Bytes(vec![0; HEADERS]);
    let symbols = b.align();
    b.u64(&[0; 3]);
    for ((_, offset), at) in functions.iter().zip(&names) {
        // STT_FUNC, STB_GLOBAL; any defined section.
        b.u32(&[*at]);
        b.u16(&[0x12, 1]);
        b.u64(&[CODE_AT as u64 + offset, 0]);
    }
    let count = functions.len() as u32 + 1;
    let hash = b.align();
    // One bucket: a chain of all symbols, last to first.
    b.u32(&[1, count, count - 1]);
    b.u32(&(0..count).map(|n| n.saturating_sub(1)).collect::<Vec<_>>());
    let versions = b.align();
    b.u16(&[0]);
    b.u16(&vec![2; functions.len()]);
    let definitions = b.align();
    // Two Elf64_Verdef with one Verdaux each: the file itself, and the version of all symbols.
    b.u16(&[1, 1, 1, 1]);
    b.u32(&[elf_hash(SONAME), 20, 28, soname, 0]);
    b.u16(&[1, 0, 2, 1]);
    b.u32(&[elf_hash(VERSION), 20, 0, version, 0]);
    let string_table = b.align();
    b.0.extend(strings.bytes());
    let dynamic = b.align();
    let entries = [
        (14, u64::from(soname)),    // DT_SONAME
        (4, hash),                  // DT_HASH
        (5, string_table),          // DT_STRTAB
        (6, symbols),               // DT_SYMTAB
        (10, strings.len() as u64), // DT_STRSZ
        (11, 24),                   // DT_SYMENT
        (0x6fff_fff0, versions),    // DT_VERSYM
        (0x6fff_fffc, definitions), // DT_VERDEF
        (0x6fff_fffd, 2),           // DT_VERDEFNUM
        (0, 0),
    ];
    entries.iter().for_each(|(tag, value)| b.u64(&[*tag, *value]));
    let dynamic_len = b.0.len() as u64 - dynamic;
    assert!(b.0.len() <= CODE_AT, "the vDSO's tables fit");
    b.0.resize(CODE_AT, 0);
    // SAFETY: the code from its first byte to its end lies in this program's text.
    let code = unsafe {
        std::slice::from_raw_parts(&raw const tegmen_vdso_start, offset_of(&tegmen_vdso_end) as usize)
    };
    b.0.extend_from_slice(code);
    assert!(b.0.len() <= IMAGE_LEN, "the vDSO fits");
    b.0.resize(IMAGE_LEN, 0);
    let headers = headers(dynamic, dynamic_len);
    b.0[..HEADERS].copy_from_slice(&headers);
    b.0
}

/// ELF header and program headers.
fn headers(dynamic: u64, dynamic_len: u64) -> Vec<u8> {
    let mut b = Bytes(b"\x7fELF\x02\x01\x01".to_vec());
    b.0.resize(16, 0);
    b.u16(&[3, 62]); // ET_DYN, EM_X86_64
    b.u32(&[1]);
    b.u64(&[0, 64, 0]);
    b.u32(&[0]);
    b.u16(&[64, 56, 2, 64, 0, 0]);
    b.u32(&[1, 5]); // PT_LOAD, read and execute
    b.u64(&[0, 0, 0, IMAGE_LEN as u64, IMAGE_LEN as u64, 0x1000]);
    b.u32(&[2, 4]); // PT_DYNAMIC, read
    b.u64(&[dynamic, dynamic, dynamic, dynamic_len, dynamic_len, 8]);
    b.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_the_specifications() {
        assert_eq!(super::elf_hash("LINUX_2.6"), 0x3ae75f6);
    }

    #[test]
    fn the_image_fits() {
        assert_eq!(super::image().len(), super::IMAGE_LEN);
    }
}
