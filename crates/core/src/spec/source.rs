//! The texts that messages point into, and places in them. Knows names of files, opens none.

/// A range of bytes in one of the texts of a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Which text.
    pub file: u16,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A range in `file`. Offsets fit because a file larger than the limit is never read.
    #[must_use]
    pub fn new(file: u16, start: usize, end: usize) -> Self {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { file, start: clamp(start), end: clamp(end.max(start)) }
    }

    /// The empty range at the start of this one.
    #[must_use]
    pub fn at_start(self) -> Self {
        Self { end: self.start, ..self }
    }

    /// From the start of `self` to the end of `other`, which lies behind it in the same file.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { end: other.end.max(self.end), ..self }
    }

    /// Bytes `start..end` counted from the start of this range, cut to its end.
    #[must_use]
    pub fn slice(self, start: usize, end: usize) -> Self {
        let offset = |bytes: usize| self.start.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)).min(self.end);
        Self { start: offset(start), end: offset(end.max(start)), ..self }
    }
}

/// One text and the name that messages give it.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Such as `pipeline.yaml`.
    pub name: String,
    /// The whole text. Bytes that are not UTF-8 have been replaced, the valid text before them has not.
    pub text: String,
}

/// Every text that was read for one definition: the pipeline, its overlays, parameter files.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

/// A place as people count: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl SourceMap {
    /// Adds a text and returns its number.
    ///
    /// # Panics
    /// With more than 65,536 texts, which no caller has.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> u16 {
        let id = u16::try_from(self.files.len()).expect("a definition consists of a handful of files");
        self.files.push(SourceFile { name: name.into(), text: text.into() });
        id
    }

    /// All texts, in the order they were added.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The text that `span` points into.
    #[must_use]
    pub fn file(&self, span: Span) -> &SourceFile {
        &self.files[usize::from(span.file)]
    }

    /// The characters of `span`, as they stand in the file.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.file(span).text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Where `span` starts.
    #[must_use]
    pub fn position(&self, span: Span) -> Position {
        let text = &self.file(span).text;
        let before = &text[..floor_char_boundary(text, span.start as usize)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: 1 + before.bytes().filter(|&byte| byte == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}

/// The largest offset of a character that is not behind `offset`.
pub(crate) fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let mut sources = SourceMap::default();
        let file = sources.add("a.yaml", "a: b\nü: x\n");
        assert_eq!(sources.position(Span::new(file, 9, 10)), Position { line: 2, column: 4 });
        assert_eq!(sources.slice(Span::new(file, 9, 10)), "x");
    }
}
