//! Masking of secret values in a stream of bytes.
//!
//! Every byte that belongs to an occurrence of a secret is replaced, overlapping and touching occurrences by one
//! [`MASK`]. The result does not depend on how the stream is cut into pieces: a piece that may be the start of a
//! secret is held back until it is known. Pure: no files, no processes.
//!
//! What counts as an occurrence of a value:
//! - the value itself, and each of its lines (without surrounding blanks) when it has several;
//! - each of those as base64 in both alphabets, at all three alignments, so that it is found inside a longer encoded
//!   text such as an `Authorization: Basic` header;
//! - each percent-encoded, as usual encoders do it, and as the inside of a JSON string.
//!
//! Texts shorter than [`MIN_LENGTH`] bytes are not masked: they would turn logs into noise and protect nothing.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// The shortest text that is masked, in bytes.
pub const MIN_LENGTH: usize = 4;

/// Knows the secrets of one attempt. Cheap to clone; shows nothing in `Debug`.
#[derive(Clone, Default)]
pub struct Masker(Arc<Patterns>);

/// Texts to mask.
struct Patterns {
    /// In ascending order without repetition.
    sorted: Vec<Vec<u8>>,
    /// For each first byte, the range of patterns that start with it.
    by_first: [(usize, usize); 256],
    /// For each two bytes, whether a pattern starts with them: one bit each. Most text is passed over by this alone.
    pairs: [u64; 1024],
}

impl Default for Patterns {
    fn default() -> Self {
        Self { sorted: Vec::new(), by_first: [(0, 0); 256], pairs: [0; 1024] }
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker").field("patterns", &self.0.sorted.len()).finish()
    }
}

impl Masker {
    /// A masker for these secret values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<Vec<u8>> = values.into_iter().flat_map(forms).collect();
        sorted.retain(|pattern| pattern.len() >= MIN_LENGTH);
        sorted.sort_unstable();
        sorted.dedup();
        let mut patterns = Patterns { sorted, ..Patterns::default() };
        for (index, pattern) in patterns.sorted.iter().enumerate() {
            let range = &mut patterns.by_first[usize::from(pattern[0])];
            *range = (if range.1 == 0 { index } else { range.0 }, index + 1);
            let (word, bit) = pair(pattern[0], pattern[1]);
            patterns.pairs[word] |= bit;
        }
        Self(Arc::new(patterns))
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.sorted.is_empty()
    }

    /// Starts a stream.
    #[must_use]
    pub fn stream(&self) -> MaskStream {
        MaskStream { patterns: Arc::clone(&self.0), held: Vec::new(), covered: 0, in_mask: false }
    }

    /// Masks a whole text of bytes.
    #[must_use]
    pub fn mask_bytes(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut stream = self.stream();
        stream.push(text, &mut out);
        stream.finish(&mut out);
        out
    }

    /// Masks a whole text, such as a message or a metric's name.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        String::from_utf8_lossy(&self.mask_bytes(text.as_bytes())).into_owned()
    }
}

/// One stream of bytes being masked.
pub struct MaskStream {
    patterns: Arc<Patterns>,
    /// Bytes whose fate is not known yet: a proper prefix of some pattern.
    held: Vec<u8>,
    /// How many of the held bytes, from the first, belong to a complete occurrence.
    covered: usize,
    /// Whether the last decided byte was masked, so that what touches it needs no mask of its own.
    in_mask: bool,
}

/// What is known about occurrences that start at some place.
struct Found {
    /// The length of the longest that is complete, or 0.
    longest: usize,
    /// Whether more bytes could make a longer one.
    open: bool,
}

impl MaskStream {
    /// Takes the next bytes and appends to `out` what is certain.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.patterns.sorted.is_empty() {
            out.extend_from_slice(chunk);
        } else if self.held.is_empty() {
            self.scan(chunk, false, out);
        } else {
            let mut text = std::mem::take(&mut self.held);
            text.extend_from_slice(chunk);
            self.scan(&text, false, out);
        }
    }

    /// Ends the stream: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let text = std::mem::take(&mut self.held);
        self.scan(&text, true, out);
    }

    fn scan(&mut self, text: &[u8], last: bool, out: &mut Vec<u8>) {
        // `text[..at]` is decided. `text[..covered]` belongs to occurrences that start before `at`.
        let (mut at, mut covered) = (0, std::mem::take(&mut self.covered));
        while at < text.len() {
            if at >= covered {
                let next = self.patterns.next_start(text, at);
                if next > at {
                    out.extend_from_slice(&text[at..next]);
                    (self.in_mask, at) = (false, next);
                    continue;
                }
            }
            let found = self.patterns.find(&text[at..]);
            if found.open && !last {
                self.held = text[at..].to_vec();
                self.covered = covered.saturating_sub(at);
                return;
            }
            covered = covered.max(at + found.longest);
            if at >= covered {
                out.push(text[at]);
            } else if !self.in_mask {
                out.extend_from_slice(MASK.as_bytes());
            }
            (self.in_mask, at) = (at < covered, at + 1);
        }
    }
}

impl Patterns {
    /// The first place from `at` on where a pattern may start, or the end.
    fn next_start(&self, text: &[u8], at: usize) -> usize {
        let rest = &text[at..];
        let found = rest.windows(2).position(|two| {
            let (word, bit) = pair(two[0], two[1]);
            self.pairs[word] & bit != 0
        });
        let last = || rest.last().filter(|&&byte| self.by_first[usize::from(byte)].1 > 0).map(|_| rest.len() - 1);
        found.or_else(last).map_or(text.len(), |offset| at + offset)
    }

    /// The patterns at the start of `text`. The candidates are a range of the sorted list, narrowed byte by byte.
    fn find(&self, text: &[u8]) -> Found {
        let mut longest = 0;
        let (mut low, mut high) = self.by_first[usize::from(text[0])];
        if low == high {
            return Found { longest, open: false };
        }
        for (depth, &byte) in text.iter().enumerate() {
            let candidates = &self.sorted[low..high];
            let first = candidates.partition_point(|pattern| pattern.get(depth).is_none_or(|&b| b < byte));
            let last = candidates.partition_point(|pattern| pattern.get(depth).is_none_or(|&b| b <= byte));
            (low, high) = (low + first, low + last);
            if low == high {
                return Found { longest, open: false };
            }
            // In sorted order a pattern that ends here comes before those that go on.
            if self.sorted[low].len() == depth + 1 {
                longest = depth + 1;
                low += 1;
            }
        }
        Found { longest, open: low < high }
    }
}

/// Where the bit of two bytes is.
fn pair(first: u8, second: u8) -> (usize, u64) {
    (usize::from(first) << 2 | usize::from(second >> 6), 1 << (second & 63))
}

/// All texts by which a value may show.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let lines = value.lines().map(str::trim).filter(|line| *line != value);
    std::iter::once(value).chain(lines).filter(|text| text.len() >= MIN_LENGTH).flat_map(encodings).collect()
}

fn encodings(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut all = vec![bytes.to_vec(), json_inside(text)];
    all.extend([STANDARD.encode(bytes), URL_SAFE.encode(bytes)].map(String::into_bytes));
    for shift in 0..3 {
        all.extend([&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].map(|engine| shifted_base64(engine, bytes, shift)));
    }
    // Unreserved characters of RFC 3986; with '/' as Python's quote; with what JavaScript's encodeURIComponent leaves;
    // as a form, with '+' for the blank.
    for (safe, plus) in [("-._~", false), ("-._~/", false), ("-._~!*'()", false), ("-._*", true)] {
        let upper = percent(bytes, safe, plus);
        all.push(lower_hex(&upper));
        all.push(upper);
    }
    all
}

/// The characters of base64 that depend on `bytes` alone when `shift` other bytes stand before it in the same group.
fn shifted_base64(engine: &impl base64::Engine, bytes: &[u8], shift: usize) -> Vec<u8> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(bytes);
    let encoded = engine.encode(&padded).into_bytes();
    // A character stands for six bits.
    let (from, to) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
    encoded.get(from..to).unwrap_or_default().to_vec()
}

fn percent(bytes: &[u8], safe: &str, plus: bool) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || safe.as_bytes().contains(&byte) {
            out.push(byte);
        } else if plus && byte == b' ' {
            out.push(b'+');
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out
}

fn lower_hex(encoded: &[u8]) -> Vec<u8> {
    let mut out = encoded.to_vec();
    for at in 0..out.len().saturating_sub(2) {
        if encoded[at] == b'%' {
            out[at + 1..at + 3].make_ascii_lowercase();
        }
    }
    out
}

fn json_inside(text: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(text).to_string().into_bytes();
    quoted[1..quoted.len() - 1].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&str], text: &str) -> String {
        Masker::new(secrets.iter().copied()).mask(text)
    }

    #[test]
    fn values_are_replaced_and_the_rest_stays() {
        assert_eq!(masked(&["hunter22"], "a hunter22 b hunter2"), "a *** b hunter2");
        assert_eq!(masked(&["hunter22"], "hunter22hunter22!"), "***!");
        assert_eq!(masked(&["abc"], "abc is too short"), "abc is too short");
        assert_eq!(masked(&[], "nothing"), "nothing");
    }

    #[test]
    fn overlapping_occurrences_leave_nothing_of_either() {
        assert_eq!(masked(&["abcdef", "defghi"], "<abcdefghi>"), "<***>");
        assert_eq!(masked(&["aXaX1", "XaXa"], "aXaXaX1"), "a***");
        assert_eq!(masked(&["token", "token-long"], "token token-long token-lo"), "*** *** ***-lo");
    }

    #[test]
    fn encoded_forms_are_found() {
        let secret = "p@ss word/\"1\"";
        let engine = base64::engine::general_purpose::STANDARD;
        for prefix in ["", "u", "us", "user:"] {
            let encoded = engine.encode(format!("{prefix}{secret}"));
            let shown = masked(&[secret], &encoded);
            // At most the two characters at either end hold bits of the neighbours.
            assert!(shown.contains("***"), "{encoded} → {shown}");
            assert!(shown.len() <= 3 + 8 + 4, "{encoded} → {shown}");
        }
        assert_eq!(masked(&[secret], "?q=p%40ss%20word%2F%221%22&x"), "?q=***&x");
        assert_eq!(masked(&[secret], "?q=p%40ss+word%2f%221%22&x"), "?q=***&x");
        assert_eq!(masked(&[secret], r#"{"t":"p@ss word/\"1\""}"#), r#"{"t":"***"}"#);
    }

    #[test]
    fn each_line_of_a_value_is_a_secret() {
        let key = "-----BEGIN KEY-----\nMIIEvQ+IBADANB\n  gkqhkiG9w0\n}\n-----END KEY-----\n";
        assert_eq!(masked(&[key], "[gkqhkiG9w0] } MIIEvQ+IBADANB"), "[***] } ***");
        assert_eq!(masked(&[key], key), "***");
    }

    #[test]
    fn debug_shows_no_value() {
        assert!(!format!("{:?}", Masker::new(["hunter22"])).contains("hunter22"));
    }

    /// The definition, without any cleverness: cover all occurrences, then replace each covered stretch.
    fn reference(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let mut covered = vec![false; text.len()];
        for pattern in patterns {
            for at in 0..text.len() {
                if text[at..].starts_with(pattern) {
                    covered[at..at + pattern.len()].fill(true);
                }
            }
        }
        let mut out = Vec::new();
        for at in 0..text.len() {
            if !covered[at] {
                out.push(text[at]);
            } else if at == 0 || !covered[at - 1] {
                out.extend_from_slice(MASK.as_bytes());
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_split_gives_what_the_definition_says(
            secrets in prop::collection::vec("[ab\n]{1,9}", 0..4),
            text in "[ab%=YW\n]{0,80}",
            cuts in prop::collection::vec(0_usize..80, 0..12),
        ) {
            let masker = Masker::new(secrets.iter().map(String::as_str));
            let expected = reference(&masker.0.sorted, text.as_bytes());
            prop_assert_eq!(&masker.mask_bytes(text.as_bytes()), &expected);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let (mut stream, mut out) = (masker.stream(), Vec::new());
            for pair in cuts.windows(2) {
                stream.push(&text.as_bytes()[pair[0]..pair[1]], &mut out);
            }
            stream.finish(&mut out);
            prop_assert_eq!(&out, &expected);
        }
    }
}
