//! Deadlines, one for each object, in order. Cost does not depend on how many objects wait.

use std::collections::BTreeSet;

use crate::Instant;

/// The deadlines of the objects of one kind. The object keeps what it is armed for.
#[derive(Debug)]
pub(crate) struct Timers<T: Ord + Copy> {
    order: BTreeSet<(Instant, T)>,
}

impl<T: Ord + Copy> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers {
            order: BTreeSet::new(),
        }
    }
}

impl<T: Ord + Copy> Timers<T> {
    /// Sees to it that `object` comes up at `wanted` at the latest.
    ///
    /// A later deadline than the armed one changes nothing: the object comes up early, and arms itself anew. That
    /// makes pushing a retransmission timer out with each acknowledgement free.
    pub(crate) fn arm(&mut self, object: T, armed: &mut Option<Instant>, wanted: Option<Instant>) {
        let Some(wanted) = wanted else { return };
        if let Some(at) = *armed {
            if at <= wanted {
                return;
            }
            self.order.remove(&(at, object));
        }
        self.order.insert((wanted, object));
        *armed = Some(wanted);
    }

    /// Forgets `object`.
    pub(crate) fn disarm(&mut self, object: T, armed: &mut Option<Instant>) {
        if let Some(at) = armed.take() {
            self.order.remove(&(at, object));
        }
    }

    /// The next object whose deadline has come. Its owner clears what it is armed for.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<T> {
        let &(at, object) = self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        Some(object)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(at, _)| at)
    }
}
