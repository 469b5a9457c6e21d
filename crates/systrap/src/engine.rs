//! What all guest processes of a platform share.

use std::sync::Arc;

use abi::Errno;

use crate::area::Areas;
use crate::clock::Clock;
use crate::handoff::Cores;
use crate::reaper::Reaper;
use crate::xstate::{self, Layout};

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
}

impl Engine {
    /// Makes all of it; no thread is started.
    pub fn new() -> Result<Engine, Errno> {
        Ok(Engine {
            areas: Areas::new()?,
            cores: Cores::new(),
            clock: Clock::new()?,
            reaper: Reaper::new()?,
            layout: xstate::layout()?,
        })
    }
}
