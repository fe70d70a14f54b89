//! Which formats there are, and how one is recognised by the name of a file.

use serde::{Deserialize, Serialize};

/// How a table is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values (RFC 4180) with a header row.
    Csv,
    /// The same, separated by tabs.
    Tsv,
    /// One JSON object on each line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format that the ending of a file name stands for, in either case; nothing for other names.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// Whether values carry their types. Otherwise they are words, and a word that looks like a number is one.
    #[must_use]
    pub fn is_typed(self) -> bool {
        matches!(self, Self::JsonLines | Self::Parquet)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::JsonLines => "JSON Lines",
            Self::Parquet => "Parquet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides() {
        let of = Format::of_name;
        assert_eq!(of("a.b.csv"), Some(Format::Csv));
        assert_eq!(of("A.TSV"), Some(Format::Tsv));
        assert_eq!(of("x.jsonl"), Some(Format::JsonLines));
        assert_eq!(of("x.ndjson"), Some(Format::JsonLines));
        assert_eq!(of("part-0.parquet"), Some(Format::Parquet));
        assert_eq!((of("csv"), of("x.json"), of("x.csv.gz"), of("")), (None, None, None, None));
    }
}
