//! What all guest processes of a platform share.

use std::sync::Arc;

use abi::Errno;
use platform::RseqFeatures;

use crate::area::Areas;
use crate::clock::Clock;
use crate::cores::Cores;
use crate::reaper::Reaper;
use crate::rseq;
use crate::xstate::{self, Layout};

/// What makes the engine fast and nothing else: each can be switched off.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Results are copied to guest memory by the stub, where they fit.
    pub windows: bool,
    /// Call sites are patched.
    pub patches: bool,
    /// Hand-offs poll when there is a core to spare.
    pub polling: bool,
    /// Two threads on one core yield to each other before they sleep.
    pub turns: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            windows: true,
            patches: true,
            polling: true,
            turns: true,
        }
    }
}

impl Tuning {
    /// Everything but what a list like `windows,patches` names.
    pub fn without(list: &str) -> Tuning {
        let off = |name: &str| list.split(',').any(|one| one == name || one == "all");
        Tuning {
            windows: !off("windows"),
            patches: !off("patches"),
            polling: !off("polling"),
            turns: !off("turns"),
        }
    }
}

/// Shared by the platform, its processes and their threads.
#[derive(Debug)]
pub struct Engine {
    /// Where thread areas come from.
    pub areas: Arc<Areas>,
    /// The cores that hand-offs share.
    pub cores: Cores,
    /// The vDSO and its clock page.
    pub clock: Clock,
    /// Who learns of ended processes.
    pub reaper: Arc<Reaper>,
    /// Size and components of extended state.
    pub layout: Layout,
    /// What the host has of rseq(2).
    pub rseq: Option<RseqFeatures>,
    /// What is switched on.
    pub tuning: Tuning,
}

impl Engine {
    /// Makes all of it; no thread is started.
    pub fn new(tuning: Tuning) -> Result<Engine, Errno> {
        Ok(Engine {
            areas: Areas::new()?,
            cores: Cores::new(tuning),
            clock: Clock::new()?,
            reaper: Reaper::new()?,
            layout: xstate::layout()?,
            rseq: rseq::features(),
            tuning,
        })
    }
}
