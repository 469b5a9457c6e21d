//! Sets of pages as ranges: which pages of a file in memory hold data.

use std::collections::BTreeMap;
use std::ops::Range;

/// Page numbers, kept as disjoint ranges that do not touch.
#[derive(Clone, Debug, Default)]
pub struct PageSet {
    /// Start to end.
    ranges: BTreeMap<u64, u64>,
    count: u64,
}

impl PageSet {
    /// Pages in the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of `pages` are not in the set.
    pub fn missing(&self, pages: Range<u64>) -> u64 {
        let len = pages.end.saturating_sub(pages.start);
        len - self
            .overlapping(&pages)
            .map(|(start, end)| end - start)
            .sum::<u64>()
    }

    /// The set's ranges cut to `pages`.
    fn overlapping(&self, pages: &Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let (start, end) = (pages.start, pages.end.max(pages.start));
        let before = self.ranges.range(..start).next_back();
        let within = self.ranges.range(start..end);
        before
            .into_iter()
            .chain(within)
            .map(move |(s, e)| ((*s).max(start), (*e).min(end)))
            .filter(|(s, e)| s < e)
    }

    /// Adds pages.
    pub fn insert(&mut self, pages: Range<u64>) {
        if pages.is_empty() {
            return;
        }
        let added = self.missing(pages.clone());
        let (mut start, mut end) = (pages.start, pages.end);
        if let Some((s, e)) = self.ranges.range(..=start).next_back()
            && *e >= start
        {
            start = *s;
            end = end.max(*e);
        }
        while let Some((s, e)) = self.ranges.range(start..=end).next().map(|(s, e)| (*s, *e)) {
            end = end.max(e);
            self.ranges.remove(&s);
        }
        self.ranges.insert(start, end);
        self.count += added;
    }

    /// Removes pages; returns how many were in the set.
    pub fn remove(&mut self, pages: Range<u64>) -> u64 {
        let hit: Vec<(u64, u64)> = self.overlapping(&pages).collect();
        let mut gone = 0;
        for (start, end) in hit {
            gone += end - start;
            let Some((s, e)) = self.ranges.range(..=start).next_back().map(|(s, e)| (*s, *e)) else {
                continue;
            };
            self.ranges.remove(&s);
            if s < start {
                self.ranges.insert(s, start);
            }
            if e > end {
                self.ranges.insert(end, e);
            }
        }
        self.count -= gone;
        gone
    }

    /// The first page at or after `page` that is in the set (`data`) or is not.
    pub fn next(&self, page: u64, data: bool) -> Option<u64> {
        let around = self
            .ranges
            .range(..=page)
            .next_back()
            .filter(|(_, end)| **end > page);
        match (around, data) {
            (Some(_), true) => Some(page),
            (Some((_, end)), false) => Some(*end),
            (None, true) => self.ranges.range(page..).next().map(|(start, _)| *start),
            (None, false) => Some(page),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_split() {
        let mut set = PageSet::default();
        set.insert(0..2);
        set.insert(4..6);
        assert_eq!(set.count(), 4);
        assert_eq!(set.missing(1..5), 2);
        set.insert(2..4);
        assert_eq!(set.ranges.len(), 1);
        assert_eq!(set.remove(1..3), 2);
        assert_eq!(set.count(), 4);
        assert_eq!(set.next(0, true), Some(0));
        assert_eq!(set.next(0, false), Some(1));
        assert_eq!(set.next(1, true), Some(3));
        assert_eq!(set.next(6, true), None);
        assert_eq!(set.next(6, false), Some(6));
        assert_eq!(set.remove(0..100), 4);
        assert_eq!(set.count(), 0);
    }
}
