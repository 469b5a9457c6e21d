//! Reading from a direction.

use abi::Errno;
use sync::Events;

use super::{Channel, Wants};
use crate::io::Sink;
use crate::socket::in_flight::InFlight;
use crate::socket::segments::Segment;
use crate::socket::{Incoming, msg};

impl Channel {
    /// Gives bytes: 0 at the end, `EAGAIN` when there are none yet. Bytes of different senders are not mixed when
    /// `credentials` are wanted; bytes behind those that came with files wait for the next call.
    pub fn receive(&self, dst: &mut dyn Sink, flags: u32, wants: Wants) -> Result<Incoming, Errno> {
        let _turn = self.receiving.lock();
        {
            let mut content = self.content.lock();
            self.pass_urgent(&mut content, wants);
            if content.len() == 0 {
                return if self.finished() || self.refused() {
                    Ok(Incoming::default())
                } else {
                    Err(Errno::EAGAIN)
                };
            }
        }
        let mut incoming = Incoming::default();
        let mut roomy_again = false;
        let done = if flags & msg::PEEK == 0 {
            self.receive_pieces(dst, wants, &mut incoming, &mut roomy_again)
        } else {
            self.peek(dst, wants, &mut incoming)
        };
        if roomy_again {
            self.writer.wake(Events::WRITABLE);
        }
        if incoming.stored == 0 {
            done?;
        }
        incoming.full = incoming.stored;
        Ok(incoming)
    }

    /// Gives segments for as long as there are any that belong together.
    fn receive_pieces(
        &self,
        dst: &mut dyn Sink,
        wants: Wants,
        incoming: &mut Incoming,
        roomy_again: &mut bool,
    ) -> Result<(), Errno> {
        loop {
            let (mut segment, max) = {
                let mut content = self.content.lock();
                let first = incoming.stored == 0;
                content.forget_runs();
                let cred = content.runs.front().map(|run| run.cred);
                if first {
                    incoming.control.cred = cred;
                } else if wants.credentials && cred != incoming.control.cred {
                    return Ok(());
                }
                let max = content.readable_to(wants, first) - content.read;
                let max = usize::try_from(max).unwrap_or(usize::MAX).min(dst.remaining());
                if max == 0 {
                    return Ok(());
                }
                let Some(segment) = content.segments.take() else {
                    return Ok(());
                };
                (segment, max)
            };
            let take = segment.bytes().len().min(max);
            let result = dst.write(&segment.bytes()[..take]);
            let count = *result.as_ref().unwrap_or(&0);
            segment.consume(count);
            incoming.stored += count;
            let files = self.publish_received(segment, count, roomy_again);
            let with_files = files.is_some();
            if let Some(files) = files {
                incoming.control.files = files;
            }
            if result? < take || with_files {
                return Ok(());
            }
        }
    }

    /// `count` bytes were read; the segment that they were in comes back. Returns the files that came with them.
    fn publish_received(&self, segment: Segment, count: usize, roomy_again: &mut bool) -> Option<InFlight> {
        let mut content = self.content.lock();
        let was_roomy = content.roomy();
        content.segments.give_back(segment);
        content.read += count as u64;
        let with_files = content
            .marks
            .front()
            .is_some_and(|mark| mark.start < content.read);
        let files = if with_files {
            content.marks.pop_front()
        } else {
            None
        };
        self.publish(&content);
        *roomy_again |= !was_roomy && content.roomy();
        files.map(|mark| mark.files)
    }

    /// Copies bytes and leaves them.
    fn peek(&self, dst: &mut dyn Sink, wants: Wants, incoming: &mut Incoming) -> Result<(), Errno> {
        let mut max = {
            let mut content = self.content.lock();
            content.forget_runs();
            incoming.control.cred = content.runs.front().map(|run| run.cred);
            let max = content.readable_to(wants, true) - content.read;
            usize::try_from(max).unwrap_or(usize::MAX).min(dst.remaining())
        };
        let mut held = Vec::new();
        let mut result = Ok(0);
        while max > 0 {
            let Some(segment) = self.content.lock().segments.take() else {
                break;
            };
            let take = segment.bytes().len().min(max);
            result = dst.write(&segment.bytes()[..take]);
            held.push(segment);
            let count = *result.as_ref().unwrap_or(&0);
            incoming.stored += count;
            max = if count == take { max - take } else { 0 };
        }
        let files = {
            let mut content = self.content.lock();
            for segment in held.into_iter().rev() {
                content.segments.give_back(segment);
            }
            let reached = content.read + incoming.stored as u64;
            let mark = content.marks.front().filter(|mark| mark.start < reached);
            mark.map(|mark| mark.files.peek())
        };
        if let Some(files) = files {
            // Counted once more while the copy is on its way.
            incoming.control.files = InFlight::new(files, u64::MAX)?;
        }
        result.map(drop)
    }
}
