//! A bit for each position.

/// Bits, of which those beyond the end are off.
#[derive(Debug, Default, Clone)]
pub(super) struct Bits {
    len: usize,
    words: Vec<u64>,
}

impl Bits {
    /// So many bits, all off. Memory that is never looked at is never touched.
    pub(super) fn new(len: usize) -> Self {
        Self { len, words: vec![0; len.div_ceil(64)] }
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    pub(super) fn has(&self, at: u32) -> bool {
        self.words[at as usize / 64] & (1 << (at % 64)) != 0
    }

    pub(super) fn set(&mut self, at: u32) {
        self.words[at as usize / 64] |= 1 << (at % 64);
    }

    /// Sets one; false where it was set before.
    pub(super) fn insert(&mut self, at: u32) -> bool {
        let is_new = !self.has(at);
        self.set(at);
        is_new
    }

    /// One more, which is off.
    pub(super) fn push(&mut self) {
        if self.len.is_multiple_of(64) {
            super::reserve(&mut self.words, 1);
            self.words.push(0);
        }
        self.len += 1;
    }

    /// Forgets those from a position on.
    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        self.words.truncate(len.div_ceil(64));
        if let Some(last) = self.words.last_mut()
            && !len.is_multiple_of(64)
        {
            *last &= (1 << (len % 64)) - 1;
        }
    }
}
