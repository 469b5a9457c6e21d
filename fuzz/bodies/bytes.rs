//! Structured values out of a fuzzer's bytes: past the end everything is zero.

pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(len.min(self.0.len()));
        self.0 = tail;
        head
    }

    pub fn word(&mut self, len: usize) -> u64 {
        let mut raw = [0; 8];
        let head = self.take(len);
        raw[..head.len()].copy_from_slice(head);
        u64::from_le_bytes(raw)
    }

    pub fn byte(&mut self) -> u8 {
        self.word(1) as u8
    }
}
