//! The first page of a program's stack: arguments, environment and the auxiliary vector, as bytes.

use abi::Errno;

/// Longest single string, with its NUL (MAX_ARG_STRLEN).
pub const MAX_STRING: usize = 32 * 4096;
/// Most bytes of all strings and pointers together, whatever RLIMIT_STACK says (three quarters of 8 MiB).
const MAX_TOTAL: u64 = 6 << 20;
/// Always allowed (ARG_MAX).
const MIN_TOTAL: u64 = 131_072;

/// Auxiliary vector entries (getauxval(3)).
#[derive(Clone, Debug, Default)]
pub struct Auxv(Vec<(u64, u64)>);

macro_rules! entries {
    ($($name:ident = $value:literal;)*) => { $(#[doc = stringify!($name)] pub const $name: u64 = $value;)* };
}

impl Auxv {
    entries! {
        PHDR = 3; PHENT = 4; PHNUM = 5; PAGESZ = 6; BASE = 7; FLAGS = 8; ENTRY = 9;
        UID = 11; EUID = 12; GID = 13; EGID = 14; PLATFORM = 15; HWCAP = 16; CLKTCK = 17;
        SECURE = 23; RANDOM = 25; HWCAP2 = 26; RSEQ_FEATURE_SIZE = 27; RSEQ_ALIGN = 28; EXECFN = 31; SYSINFO_EHDR = 33; MINSIGSTKSZ = 51;
    }

    /// Adds an entry.
    pub fn push(&mut self, kind: u64, value: u64) {
        self.0.push((kind, value));
    }

    /// As guest bytes, with AT_NULL at the end.
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity((self.0.len() + 1) * 16);
        for (kind, value) in self.0.iter().chain(&[(0, 0)]) {
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
        }
        out
    }
}

/// The arguments of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
}

impl Arguments {
    /// Bytes that strings and pointers may take under an RLIMIT_STACK of `stack_limit`.
    pub fn limit(stack_limit: u64) -> u64 {
        (stack_limit / 4).clamp(MIN_TOTAL, MAX_TOTAL)
    }

    /// `E2BIG` when they are more than a stack of `stack_limit` bytes may hold a quarter of (execve(2), "Limits").
    pub fn check(&self, stack_limit: u64) -> Result<(), Errno> {
        let mut total = (self.argv.len().max(1) as u64 + self.envp.len() as u64) * 8;
        for string in self.argv.iter().chain(&self.envp) {
            if string.len() >= MAX_STRING {
                return Err(Errno::E2BIG);
            }
            total += string.len() as u64 + 1;
        }
        if total > Self::limit(stack_limit) {
            return Err(Errno::E2BIG);
        }
        Ok(())
    }
}

/// The finished top of the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackImage {
    /// The stack pointer; where the bytes go.
    pub sp: u64,
    /// Everything from `sp` up to the stack's top.
    pub bytes: Vec<u8>,
    /// Argument strings.
    pub args: (u64, u64),
    /// Environment strings.
    pub env: (u64, u64),
    /// The auxiliary vector.
    pub auxv: Vec<u8>,
}

/// Strings below `top`, from the top down: the file's name, environment, arguments (in ascending order each).
struct Strings {
    /// Bytes from the lowest string up to `top`.
    bytes: Vec<u8>,
    start: u64,
    argv: Vec<u64>,
    envp: Vec<u64>,
    args: (u64, u64),
    env: (u64, u64),
    name: u64,
}

fn place_strings(top: u64, arguments: &Arguments, name: &[u8]) -> Strings {
    let size = |list: &[Vec<u8>]| list.iter().map(|text| text.len() as u64 + 1).sum::<u64>();
    let (argv_len, envp_len) = (size(&arguments.argv), size(&arguments.envp));
    // Linux leaves eight zero bytes at the very top.
    let name_at = top - 8 - (name.len() as u64 + 1);
    let env_at = name_at - envp_len;
    let args_at = env_at - argv_len;
    let mut bytes = Vec::with_capacity((top - args_at) as usize);
    let put = |list: &[Vec<u8>], bytes: &mut Vec<u8>| -> Vec<u64> {
        let mut places = Vec::with_capacity(list.len());
        for text in list {
            places.push(args_at + bytes.len() as u64);
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        places
    };
    let argv = put(&arguments.argv, &mut bytes);
    let envp = put(&arguments.envp, &mut bytes);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&[0; 9]);
    Strings {
        bytes,
        start: args_at,
        argv,
        envp,
        args: (args_at, env_at),
        env: (env_at, name_at),
        name: name_at,
    }
}

/// Lays out the stack below `top` (page aligned). `random` becomes AT_RANDOM's bytes; `slide` (less than a page)
/// moves the stack pointer.
pub fn build(
    top: u64,
    arguments: &Arguments,
    name: &[u8],
    mut auxv: Auxv,
    random: [u8; 16],
    slide: u64,
) -> StackImage {
    const PLATFORM: &[u8] = b"x86_64\0";
    let strings = place_strings(top, arguments, name);
    let platform_at = (strings.start - slide - PLATFORM.len() as u64) & !15;
    let random_at = platform_at - 16;
    auxv.push(Auxv::RANDOM, random_at);
    auxv.push(Auxv::EXECFN, strings.name);
    auxv.push(Auxv::PLATFORM, platform_at);
    let auxv = auxv.bytes();
    let words = 1 + strings.argv.len() as u64 + 1 + strings.envp.len() as u64 + 1;
    let sp = (random_at - words * 8 - auxv.len() as u64) & !15;
    let mut bytes = Vec::with_capacity((top - sp) as usize);
    let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(strings.argv.len() as u64);
    strings.argv.iter().for_each(|at| word(*at));
    word(0);
    strings.envp.iter().for_each(|at| word(*at));
    word(0);
    bytes.extend_from_slice(&auxv);
    bytes.resize((random_at - sp) as usize, 0);
    bytes.extend_from_slice(&random);
    bytes.extend_from_slice(PLATFORM);
    bytes.resize((strings.start - sp) as usize, 0);
    bytes.extend_from_slice(&strings.bytes);
    StackImage {
        sp,
        bytes,
        args: strings.args,
        env: strings.env,
        auxv,
    }
}
