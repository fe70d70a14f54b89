//! How results look to people: words, tables, trees, diagrams. Everything here makes text of values and prints none.

pub(crate) mod asserted;
pub(crate) mod closing;
pub(crate) mod derivation;
pub(crate) mod diagram;
pub(crate) mod difference;
pub(crate) mod excerpt;
pub(crate) mod lineage;
pub(crate) mod metrics;
pub(crate) mod outcome;
pub(crate) mod quantity;
pub(crate) mod reproduction;
pub(crate) mod retention;
pub(crate) mod rows;
pub(crate) mod style;
pub(crate) mod svg;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod tree;
pub(crate) mod why;

use runstone_core::time::Timestamp;

use time::Zone;

/// What the look of a result depends on besides the result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Columns that lines should fit in; none where nothing needs to fit.
    pub(crate) width: Option<usize>,
    /// The zone times are shown in.
    pub(crate) zone: Zone,
    /// The time, for what is still going on.
    pub(crate) now: Timestamp,
}

/// Text from outside, harmless on a terminal: control characters and those that change the direction of text are
/// escaped.
pub(crate) fn harmless(text: &str) -> String {
    let is_bad = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.chars().any(is_bad) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_bad(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
impl Layout {
    /// A layout that depends on nothing around the test.
    pub(crate) fn fixed(width: usize) -> Self {
        Self { width: Some(width), zone: Zone::Utc, now: Timestamp(1_700_000_100_000_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mb\r\u{202e}c"), "a\\u{1b}[31mb\\r\\u{202e}c");
        assert_eq!(harmless("größe"), "größe");
    }
}
