//! `normalize:` of outputs: what does not count when two versions of one output are compared.
//!
//! It changes no bytes and is no part of a fingerprint. What a word does to content is done elsewhere; here is which
//! words there are and how they go together.

use serde::{Deserialize, Serialize};

use crate::record::states;

states! {
    /// Something about content that can differ without a difference in meaning.
    Normalizer {
        /// What is packed counts, entry by entry, in the order of names; times and compression do not.
        Zip = "zip",
        /// What is compressed counts; the header and how well it is compressed do not.
        Gzip = "gzip",
        /// One JSON value: the order of keys, white space and the spelling of numbers do not count.
        Json = "json",
        /// The same for each line.
        Jsonl = "jsonl",
        /// Fields between commas: quotes and line ends do not count.
        Csv = "csv",
        /// A Jupyter notebook: outputs, execution counts and what the execution noted do not count.
        Notebook = "notebook",
        /// Text: line ends and white space at the end of lines and of the file do not count.
        Text = "text",
        /// The order of lines does not count, how often each is there does.
        UnorderedLines = "unordered_lines",
    }
}

impl Normalizer {
    /// Words are applied from the outside in: first what is packed, then what is compressed, then one format, then the order.
    const fn layer(self) -> u8 {
        match self {
            Self::Zip => 0,
            Self::Gzip => 1,
            Self::Json | Self::Jsonl | Self::Csv | Self::Notebook | Self::Text => 2,
            Self::UnorderedLines => 3,
        }
    }

    /// Whether this can be applied to what `outer` leaves.
    #[must_use]
    pub const fn follows(self, outer: Self) -> bool {
        outer.layer() < self.layer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_has_these_words() {
        let words: Vec<&str> = Normalizer::ALL.iter().map(|word| word.as_str()).collect();
        assert_eq!(words, super::super::fields::NORMALIZERS);
    }

    #[test]
    fn words_go_from_the_outside_in() {
        use Normalizer::{Csv, Gzip, Json, UnorderedLines, Zip};
        for pair in [[Zip, Gzip], [Gzip, Csv], [Csv, UnorderedLines], [Zip, Json]] {
            assert!(pair[1].follows(pair[0]) && !pair[0].follows(pair[1]), "{pair:?}");
        }
        assert!(!Json.follows(Csv) && !Gzip.follows(Gzip));
    }
}
