//! How a task wants to be scheduled (sched(7)): remembered, shown and passed on; the host schedules.

/// SCHED_ numbers.
pub mod policy {
    /// SCHED_OTHER.
    pub const OTHER: u32 = 0;
    /// SCHED_FIFO.
    pub const FIFO: u32 = 1;
    /// SCHED_RR.
    pub const RR: u32 = 2;
    /// SCHED_BATCH.
    pub const BATCH: u32 = 3;
    /// SCHED_IDLE.
    pub const IDLE: u32 = 5;
    /// SCHED_DEADLINE.
    pub const DEADLINE: u32 = 6;
    /// SCHED_EXT.
    pub const EXT: u32 = 7;
    /// Flag of sched_setscheduler(2): children are scheduled as by default.
    pub const RESET_ON_FORK: u32 = 0x4000_0000;
}

/// Policy and parameters of a task, but for its nice value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sched {
    /// One of [`policy`], without the flag.
    pub policy: u32,
    /// Real-time priority, 1 to 99; 0 for other policies.
    pub priority: u32,
    /// Children are scheduled as by default.
    pub reset_on_fork: bool,
    /// Time slice that was asked for, nanoseconds; 0: the default.
    pub slice: u64,
    /// Of SCHED_DEADLINE.
    pub deadline: Deadline,
}

/// What SCHED_DEADLINE promises, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    /// Time on a processor in each period.
    pub runtime: u64,
    /// By when it is given.
    pub deadline: u64,
    /// The period.
    pub period: u64,
    /// SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN.
    pub flags: u64,
}

impl Sched {
    /// From sched_setscheduler(2)'s numbers.
    pub fn new(policy: u32, priority: u32) -> Sched {
        Sched {
            policy: policy & !policy::RESET_ON_FORK,
            priority,
            reset_on_fork: policy & policy::RESET_ON_FORK != 0,
            ..Sched::default()
        }
    }

    /// SCHED_FIFO or SCHED_RR.
    pub fn is_real_time(&self) -> bool {
        matches!(self.policy, policy::FIFO | policy::RR)
    }

    /// What a child gets, with its nice value: nothing that took a privilege, if that was asked for.
    pub fn for_child(&self, nice: i32) -> (Sched, i32) {
        if !self.reset_on_fork {
            return (*self, nice);
        }
        if self.is_real_time() || self.policy == policy::DEADLINE {
            return (Sched::default(), 0);
        }
        (Sched::new(self.policy, 0), nice.max(0))
    }

    /// The `priority` field of /proc/PID/stat.
    pub fn shown_priority(&self, nice: i32) -> i64 {
        match self.policy {
            policy::FIFO | policy::RR => -1 - i64::from(self.priority),
            policy::DEADLINE => -101,
            _ => 20 + i64::from(nice),
        }
    }
}
