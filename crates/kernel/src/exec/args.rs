//! Reading argv and envp from guest memory: a page at a time, since their strings lie together.

use abi::{AbiField, Errno, PAGE_SIZE, UserAddr};

use super::stack::{Arguments, MAX_STRING};
use crate::mm::RLIMIT_STACK;
use crate::task::CurrentTask;

/// Pointers read at a time.
const POINTER_STEP: usize = 64;

/// Guest memory read through a copy of the page read last.
struct Pages<'a> {
    task: &'a CurrentTask,
    at: u64,
    bytes: Vec<u8>,
}

impl Pages<'_> {
    /// What can be read from `addr` to the end of its page; not empty.
    fn rest(&mut self, addr: u64) -> Result<&[u8], Errno> {
        let page = abi::page_down(addr);
        if self.at != page || self.bytes.is_empty() {
            self.bytes.clear();
            self.bytes.resize(PAGE_SIZE as usize, 0);
            self.at = page;
            if let Err(errno) = self.task.copy_in(UserAddr(page), &mut self.bytes) {
                self.bytes.clear();
                return Err(errno);
            }
        }
        self.bytes.get((addr - page) as usize..).ok_or(Errno::EFAULT)
    }

    fn string(&mut self, addr: u64) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        let mut at = addr;
        loop {
            let rest = self.rest(at)?;
            if let Some(end) = rest.iter().position(|byte| *byte == 0) {
                out.extend_from_slice(rest.get(..end).unwrap_or_default());
                break;
            }
            at = at.checked_add(rest.len() as u64).ok_or(Errno::EFAULT)?;
            out.extend_from_slice(rest);
            if out.len() >= MAX_STRING {
                return Err(Errno::E2BIG);
            }
        }
        if out.len() >= MAX_STRING {
            return Err(Errno::E2BIG);
        }
        Ok(out)
    }
}

/// Reads a NULL-terminated array of string pointers (a null array is empty); `budget` is what its strings and
/// pointers may still cost.
fn read_list(pages: &mut Pages<'_>, array: UserAddr, budget: &mut u64) -> Result<Vec<Vec<u8>>, Errno> {
    let mut list = Vec::new();
    if array.is_null() {
        return Ok(list);
    }
    let mut at = array;
    loop {
        // Not beyond the page's end: the array may end just before an unmapped page.
        let left = ((PAGE_SIZE - at.0 % PAGE_SIZE) / 8).clamp(1, POINTER_STEP as u64) as usize;
        let mut raw = [0; POINTER_STEP * 8];
        let raw = raw.get_mut(..left * 8).ok_or(Errno::EFAULT)?;
        pages.task.copy_in(at, raw)?;
        for pointer in raw.chunks_exact(8).map(u64::get) {
            if pointer == 0 {
                return Ok(list);
            }
            let string = pages.string(pointer)?;
            let cost = string.len() as u64 + 1 + 8;
            *budget = budget.checked_sub(cost).ok_or(Errno::E2BIG)?;
            list.push(string);
        }
        at = at.add(left as u64 * 8)?;
    }
}

/// Reads both lists; `E2BIG` beyond Linux's limits. A program without arguments gets one empty one, as in Linux.
pub fn read(task: &CurrentTask, argv: UserAddr, envp: UserAddr) -> Result<Arguments, Errno> {
    let mut pages = Pages {
        task,
        at: 0,
        bytes: Vec::new(),
    };
    let stack_limit = task.group.rlimit(RLIMIT_STACK);
    let mut budget = Arguments::limit(stack_limit);
    let mut arguments = Arguments {
        argv: read_list(&mut pages, argv, &mut budget)?,
        envp: read_list(&mut pages, envp, &mut budget)?,
    };
    if arguments.argv.is_empty() {
        arguments.argv.push(Vec::new());
    }
    Ok(arguments)
}
