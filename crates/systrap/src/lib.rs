//! The systrap platform: guest threads are host threads under a filter that traps every system call.
//!
//! `zygote` makes the first guest process, `spare` others before they are needed, `process` is one, `channel` gives its memory helper orders, `context`
//! drives a guest thread through `area` (shared memory) and `frame` (its registers); `stub.s` is all code of ours
//! in guest processes; `filter` is the boundary. If the sentry dies, its guest processes die with the thread that
//! made the platform (parent death signal) and with the sandbox's pid namespace.

mod area;
mod channel;
mod clock;
mod context;
mod cores;
mod engine;
mod filter;
mod frame;
mod handoff;
mod layout;
mod patch;
mod process;
mod reaper;
mod regions;
mod rseq;
mod slot;
mod space;
mod spare;
mod stub;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;
mod vdso;
mod window;
mod xstate;
mod zygote;

use std::sync::Arc;
use std::time::Duration;

use abi::{Errno, UserAddr};
use host::rlimit::{self, Resource};
use platform::{AddressSpace, Platform, RseqFeatures, UserRange, Vdso};

pub use engine::Tuning;
pub use filter::{Allowed, GUEST_CALLS, helper_calls};
pub use space::Space;

use crate::engine::Engine;
use crate::spare::Spares;

/// Scheduler turns of sentry threads: shorter than those of others, so that they run before whoever computes.
const SENTRY_TURN: Duration = Duration::from_micros(200);
/// Scheduler turns of guest threads, hardly longer: who yields gives up the rest of a turn, so that two threads that
/// yield to each other are chosen in turns only if theirs are as long.
const GUEST_TURN: Duration = Duration::from_micros(201);

/// The platform.
pub struct Systrap {
    engine: Arc<Engine>,
    spares: Spares,
}

impl Systrap {
    /// Makes the zygote. To be called while the sentry has one thread, from a thread that lives as long as the
    /// sentry (its end kills all guests), with the credentials that the sentry keeps: reading guest memory needs
    /// the same ones. The descriptor table stays shared with guest processes' helpers: never unshare it.
    pub fn new() -> Result<Systrap, Errno> {
        Systrap::tuned(Tuning::default())
    }

    /// Likewise, with parts switched off.
    pub fn tuned(tuning: Tuning) -> Result<Systrap, Errno> {
        // Each guest process costs two or three descriptors.
        if let Ok((soft, hard)) = rlimit::get(Resource::NoFile)
            && soft < hard
        {
            rlimit::set(Resource::NoFile, hard, hard)?;
        }
        let engine = Arc::new(Engine::new(tuning)?);
        // Both sides of a hand-off must run soon after they wake, whoever else computes. Only a hint to the host.
        let _ = host::process::short_turns(GUEST_TURN);
        let zygote = zygote::spawn(engine.clone())?;
        let _ = host::process::short_turns(SENTRY_TURN);
        let spares = Spares::new(engine.clone(), zygote);
        Ok(Systrap { engine, spares })
    }

    /// A new, empty address space, as its own type.
    pub fn space(&self) -> Result<Space, Errno> {
        Ok(Space::new(self.spares.take()?))
    }
}

impl Platform for Systrap {
    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, Errno> {
        Ok(Arc::new(self.space()?))
    }

    fn user_range(&self) -> UserRange {
        UserRange {
            start: UserAddr(layout::USER_START),
            end: UserAddr(layout::USER_END),
        }
    }

    fn xstate_layout(&self) -> (usize, u64) {
        (self.engine.layout.len, self.engine.layout.mask)
    }

    fn vdso(&self) -> Option<Vdso> {
        Some(Vdso {
            len: (clock::PAGE_LEN + vdso::IMAGE_LEN) as u64 + patch::LEN,
            elf_offset: clock::PAGE_LEN as u64,
        })
    }

    fn processors(&self) -> Option<u64> {
        self.engine.cores.mask
    }

    fn rseq(&self) -> Option<RseqFeatures> {
        self.engine.rseq
    }
}
