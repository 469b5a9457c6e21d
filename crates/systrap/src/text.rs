//! Guest code as far as patching must understand it: how long instructions are, and where nothing is ever executed.
//!
//! Decoding starts behind a system call that has just returned, so it is in step with the processor. What follows an
//! instruction that never continues, and consists of the no-ops with which compilers fill up to an aligned address,
//! is reached by nobody. Instructions that are not known end the search.

/// How execution goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// With the next instruction, possibly.
    On,
    /// Elsewhere, always.
    Away,
}

/// Compilers fill up to a multiple of this.
const FILL: u64 = 16;

/// The length of a ModRM byte and all that belongs to it.
fn modrm(code: &[u8]) -> Option<usize> {
    let byte = *code.first()?;
    let (mode, rm) = (byte >> 6, byte & 7);
    if mode == 3 {
        return Some(1);
    }
    let (mut len, mut wide) = (1, mode == 0 && rm == 5);
    if rm == 4 {
        len += 1;
        wide = mode == 0 && *code.get(1)? & 7 == 5;
    }
    Some(
        len + match mode {
            1 => 1,
            2 => 4,
            _ if wide => 4,
            _ => 0,
        },
    )
}

/// The instruction at the start of `code`: its length, and how execution goes on.
fn decode(code: &[u8]) -> Option<(usize, Flow)> {
    let mut at = 0;
    let mut narrow = false;
    while matches!(
        *code.get(at)?,
        0x66 | 0xf2 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0xf0
    ) {
        narrow |= *code.get(at)? == 0x66;
        at += 1;
    }
    let rex = *code.get(at)?;
    let wide = rex & 0xf8 == 0x48;
    if rex & 0xf0 == 0x40 {
        at += 1;
    }
    let opcode = *code.get(at)?;
    at += 1;
    let rest = code.get(at..)?;
    let immediate = if narrow { 2 } else { 4 };
    let with_modrm = |more: usize| modrm(rest).map(|len| len + more);
    let (len, flow) = match opcode {
        0x0f => {
            let (len, flow) = decode_two(rest)?;
            (len, flow)
        }
        0xc5 | 0xc4 => (decode_vex(opcode, rest)?, Flow::On),
        0x00..=0x3f => match opcode & 7 {
            0..=3 => (with_modrm(0)?, Flow::On),
            4 => (1, Flow::On),
            5 => (immediate, Flow::On),
            _ => return None,
        },
        0x50..=0x5f | 0x90..=0x99 | 0x9c | 0x9d | 0xc9 | 0xf8..=0xfd => (0, Flow::On),
        0xa4..=0xa7 | 0xaa..=0xaf => (0, Flow::On),
        0x63 | 0x84..=0x8b | 0x8d | 0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe => (with_modrm(0)?, Flow::On),
        0x68 if !narrow => (4, Flow::On),
        0x69 | 0x81 | 0xc7 => (with_modrm(immediate)?, Flow::On),
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xe0..=0xe3 => (1, Flow::On),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => (with_modrm(1)?, Flow::On),
        0xa9 => (immediate, Flow::On),
        0xb8..=0xbf if wide => (8, Flow::On),
        0xb8..=0xbf => (immediate, Flow::On),
        0xe8 if !narrow => (4, Flow::On),
        0xe9 if !narrow => (4, Flow::Away),
        0xeb => (1, Flow::Away),
        0xc2 => (2, Flow::Away),
        0xc3 | 0xf4 => (0, Flow::Away),
        0xf6 | 0xf7 => {
            let test = rest.first()? >> 3 & 7 < 2;
            let more = match (test, opcode) {
                (false, _) => 0,
                (true, 0xf6) => 1,
                (true, _) => immediate,
            };
            (with_modrm(more)?, Flow::On)
        }
        0xff => {
            let jump = matches!(rest.first()? >> 3 & 7, 4 | 5);
            (with_modrm(0)?, if jump { Flow::Away } else { Flow::On })
        }
        _ => return None,
    };
    Some((at + len, flow))
}

/// What follows the byte 0x0f.
fn decode_two(code: &[u8]) -> Option<(usize, Flow)> {
    let rest = code.get(1..)?;
    let with_modrm = |more: usize| modrm(rest).map(|len| len + more);
    let len = match *code.first()? {
        0x05 | 0x31 | 0xa2 | 0x77 | 0xc8..=0xcf => 0,
        0x0b => return Some((1, Flow::Away)),
        0x80..=0x8f => 4,
        0x38 => modrm(rest.get(1..)?)? + 1,
        0x3a => modrm(rest.get(1..)?)? + 2,
        0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => with_modrm(1)?,
        0x01
        | 0x0d
        | 0x10..=0x1f
        | 0x28..=0x2f
        | 0x40..=0x6f
        | 0x74..=0x76
        | 0x7e
        | 0x7f
        | 0x90..=0x9f
        | 0xa3
        | 0xa5
        | 0xab
        | 0xad..=0xb1
        | 0xb3
        | 0xb6..=0xb8
        | 0xbb..=0xc1
        | 0xc3
        | 0xc7
        | 0xd0..=0xfe => with_modrm(0)?,
        _ => return None,
    };
    Some((1 + len, Flow::On))
}

/// What follows the first byte of a VEX prefix.
fn decode_vex(first: u8, code: &[u8]) -> Option<usize> {
    let (map, at) = if first == 0xc5 {
        (1, 1)
    } else {
        (code.first()? & 0x1f, 2)
    };
    let opcode = *code.get(at)?;
    let immediate = match map {
        1 if opcode == 0x77 => return Some(at + 1),
        1 => usize::from(matches!(opcode, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6)),
        2 => 0,
        3 => 1,
        _ => return None,
    };
    Some(at + 1 + modrm(code.get(at + 1..)?)? + immediate)
}

/// The length of one of the no-ops that compilers fill with.
fn filler(code: &[u8]) -> Option<usize> {
    let prefixes = code.iter().take_while(|byte| matches!(byte, 0x66 | 0x2e)).count();
    let body = code.get(prefixes..)?;
    match body {
        [0xcc, ..] if prefixes == 0 => Some(1),
        [0x90, ..] => Some(prefixes + 1),
        [0x0f, 0x1f, form, ..] if form & 0x38 == 0 && form >> 6 != 3 => {
            let len = modrm(body.get(2..)?)?;
            let zero = body.get(3..2 + len)?.iter().all(|byte| *byte == 0);
            zero.then_some(prefixes + 2 + len)
        }
        _ => None,
    }
}

/// Where the first `want` unreachable bytes start, as an offset in `code`, which lies at `address` and starts behind
/// a system call. None at or beyond `limit`.
pub fn unreachable(code: &[u8], address: u64, want: usize, limit: usize) -> Option<usize> {
    let mut at = 0;
    while at < limit {
        let (len, flow) = decode(code.get(at..)?)?;
        at += len;
        if flow == Flow::On {
            continue;
        }
        let start = at;
        while let Some(len) = code.get(at..).and_then(filler) {
            at += len;
        }
        let filled = (address + at as u64).is_multiple_of(FILL);
        if start < limit && filled && at - start >= want && at <= code.len() {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_processors() {
        let known: [(&[u8], usize); 22] = [
            (&[0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff], 6),       // cmp rax, -4096
            (&[0x77, 0x05], 2),                               // ja
            (&[0x8b, 0x44, 0x24, 0x08], 4),                   // mov eax, [rsp+8]
            (&[0x64, 0x8b, 0x04, 0x25, 0x18, 0, 0, 0], 8),    // mov eax, fs:0x18
            (&[0x48, 0x8b, 0x15, 1, 2, 3, 4], 7),             // mov rdx, [rip+x]
            (&[0xf7, 0xd8], 2),                               // neg eax
            (&[0x64, 0x89, 0x02], 3),                         // mov fs:[rdx], eax
            (&[0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff], 7), // mov rax, -1
            (&[0xf3, 0x0f, 0x1e, 0xfa], 4),                   // endbr64
            (&[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8], 10),      // mov rax, imm64
            (&[0x66, 0xb8, 1, 2], 4),                         // mov ax, imm16
            (&[0xf6, 0x44, 0x24, 0x10, 0x01], 5),             // test byte [rsp+16], 1
            (&[0xf0, 0x0f, 0xb1, 0x17], 4),                   // lock cmpxchg [rdi], edx
            (&[0x0f, 0x11, 0x84, 0x24, 1, 2, 3, 4], 8),       // movups [rsp+x], xmm0
            (&[0x0f, 0x84, 1, 2, 3, 4], 6),                   // je
            (&[0xc5, 0xf8, 0x77], 3),                         // vzeroupper
            (&[0xc5, 0xfe, 0x6f, 0x06], 4),                   // vmovdqu ymm0, [rsi]
            (&[0xc4, 0xe3, 0x7d, 0x39, 0xc1, 0x01], 6),       // vextracti128 xmm1, ymm0, 1
            (&[0x66, 0x0f, 0x3a, 0x0f, 0xc1, 0x08], 6),       // palignr
            (&[0x41, 0x54], 2),                               // push r12
            (&[0x80, 0x3d, 1, 2, 3, 4, 0], 7),                // cmp byte [rip+x], 0
            (&[0xe8, 1, 2, 3, 4], 5),                         // call
        ];
        for (code, len) in known {
            let mut padded = code.to_vec();
            padded.resize(20, 0);
            assert_eq!(decode(&padded), Some((len, Flow::On)), "{code:x?}");
        }
        assert_eq!(decode(&[0xc3]), Some((1, Flow::Away)));
        assert_eq!(decode(&[0xff, 0x25, 0, 0, 0, 0]), Some((6, Flow::Away)));
        assert_eq!(decode(&[0x62; 20]), None);
    }

    #[test]
    fn only_fill_behind_a_way_out_is_unreachable() {
        // cmp rax, -4096; ja; ret; nopl
        let code = [
            0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0x77, 0x08, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0x48, 0x8b,
        ];
        assert_eq!(unreachable(&code, 0x1000, 5, 100), Some(9));
        assert_eq!(unreachable(&code, 0x1000, 8, 100), None);
        assert_eq!(unreachable(&code, 0x1000, 5, 9), None);
        assert_eq!(unreachable(&code, 0x1001, 5, 100), None, "not aligned");
        let mut through = code;
        through[8] = 0x90;
        assert_eq!(unreachable(&through, 0x1000, 5, 100), None, "falls through");
        // The same bytes inside an immediate: mov eax, 0x..c3; nop
        let inside = [
            0xb8, 0, 0, 0, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0x90, 0x90, 0x90, 0x90,
        ];
        assert_eq!(unreachable(&inside, 0x1000, 5, 100), None);
    }

    #[test]
    fn any_bytes_end_the_search() {
        let mut state = 1u32;
        for _ in 0..20_000 {
            let code: Vec<u8> = (0..64)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            let _ = unreachable(&code, u64::from(state), 5, 60);
        }
    }
}
