//! Restartable sequences (rseq(2)) of a guest thread: handed on to the host, whose scheduler alone can restart them.
//!
//! The host writes to the guest's area, and restarts guest code, as it does for any program; what it reads there the
//! guest could have done itself. A thread is registered on its way back to guest code, and taken out before its
//! memory may serve something else (docs/decisions/0004).

use std::sync::atomic::Ordering;

use host::process;
use platform::{Rseq, RseqFeatures};

use crate::area::Area;
use crate::layout::area;

/// Flag of rseq(2): take the registration back.
const UNREGISTER: u32 = 1;
/// Bytes of the area that this engine knows: through `mm_cid`. What newer hosts add stays unused.
const FEATURE_BYTES: u32 = 28;
/// getauxval(3): bytes of the area that the host uses, and how it is to be aligned.
const AT_RSEQ_FEATURE_SIZE: u64 = 27;
const AT_RSEQ_ALIGN: u64 = 28;

/// What the host has of rseq(2); `None`: nothing.
pub fn features() -> Option<RseqFeatures> {
    process::has_rseq().then(|| {
        let entry = |kind| u32::try_from(process::auxiliary(kind)).unwrap_or(0);
        RseqFeatures {
            size: entry(AT_RSEQ_FEATURE_SIZE).min(FEATURE_BYTES),
            align: entry(AT_RSEQ_ALIGN),
        }
    })
}

/// The registration of one guest thread.
#[derive(Debug, Default)]
pub struct Registration {
    /// With the host.
    host: Option<Rseq>,
    /// To be made when the thread is next continued.
    wanted: Option<Rseq>,
}

impl Registration {
    /// To be registered when the thread is next continued.
    pub fn want(&mut self, rseq: Rseq) {
        self.wanted = Some(rseq);
    }

    /// Nothing is wanted any more; the order that takes back what the host has, if it has something.
    pub fn withdraw(&mut self, memory: &Area) -> bool {
        self.wanted = None;
        self.host.inspect(|rseq| put(memory, rseq, UNREGISTER)).is_some()
    }

    /// That order was carried out.
    pub fn withdrawn(&mut self, memory: &Area) {
        if memory.word(area::RSEQ_RESULT).load(Ordering::Relaxed) == 0 {
            self.host = None;
        }
    }

    /// Writes the order for a thread that is about to be continued, if there is one.
    pub fn order(&mut self, memory: &Area) -> bool {
        let Some(rseq) = self.wanted.take() else {
            return false;
        };
        put(memory, &rseq, 0);
        self.host = Some(rseq);
        true
    }

    /// Whether the host may still write to the thread's area.
    pub fn is_with_host(&self) -> bool {
        self.host.is_some()
    }
}

fn put(memory: &Area, rseq: &Rseq, flags: u32) {
    memory.set(area::RSEQ, rseq.addr.0);
    for (at, value) in [
        (area::RSEQ_LEN, rseq.len),
        (area::RSEQ_FLAGS, flags),
        (area::RSEQ_SIG, rseq.signature),
        (area::RSEQ_RESULT, u32::MAX),
    ] {
        memory.word(at).store(value, Ordering::Relaxed);
    }
}
