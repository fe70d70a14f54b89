//! What came of doing a recorded attempt again: what it made now, beside what is on record.
//!
//! Plain data and how verdicts add up. Doing it again is the engine's business, keeping it the store's.

use serde::{Deserialize, Serialize};

use crate::hash::ContentHash;
use crate::record::{NodeId, states};
use crate::time::Timestamp;

states! {
    /// What doing an attempt again says about its record, from the best to the worst.
    Verdict {
        /// The same bytes.
        Identical = "identical",
        /// Other bytes, but the same once what does not count (`normalize:` of the output) is left out.
        LogicallyIdentical = "logically_identical",
        /// It could not be tried: something that it needs is not there any more.
        Impossible = "impossible",
        /// It succeeded and made something else.
        Differs = "differs",
        /// It ran and did not succeed.
        Failed = "failed",
    }
}

impl Verdict {
    /// Whether the record was confirmed.
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::Identical | Self::LogicallyIdentical)
    }

    /// The worst of several; [`Identical`](Self::Identical) of none.
    #[must_use]
    pub fn worst(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let badness = |verdict: &Self| Self::ALL.iter().position(|one| one == verdict);
        verdicts.into_iter().max_by_key(badness).unwrap_or(Self::Identical)
    }
}

states! {
    /// In what respect two versions of a file differ.
    DifferenceKind {
        /// Their bytes.
        Content = "content",
        /// The version on record has it, the other does not.
        Missing = "missing",
        /// Only the version made now has it.
        Added = "added",
        /// One is a file, the other a folder or a link.
        Type = "type",
        /// One may be executed, the other not.
        Mode = "mode",
        /// Links lead elsewhere.
        Target = "target",
    }
}

/// The first place at which two versions of an output differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstDifference {
    /// Which file of a folder, with `/` between names and the bytes of names that are no text replaced; empty where the
    /// output is a file itself. Folders are walked by name, a folder's content in its place.
    pub path: String,
    /// In what respect.
    pub kind: DifferenceKind,
    /// The first byte that differs, from 0, where both are files. The end of the shorter one where it is a beginning of
    /// the longer one.
    pub offset: Option<u64>,
    /// Bytes of the file on record, where there is one.
    pub expected_size: Option<u64>,
    /// Bytes of the file made now, where there is one.
    pub found_size: Option<u64>,
}

/// One output, as it is on record and as it was made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputComparison {
    /// Its name within the step.
    pub output: String,
    /// What is on record; none where the attempt on record did not write it.
    pub expected: Option<ContentHash>,
    /// What was made now; none where it was not written, or nothing was tried.
    pub found: Option<ContentHash>,
    /// What follows.
    pub verdict: Verdict,
    /// Bytes on record, of all files together.
    pub expected_size: Option<u64>,
    /// Bytes made now, of all files together.
    pub found_size: Option<u64>,
    /// Where they begin to differ; none where they do not, or where the bytes on record are gone.
    pub difference: Option<FirstDifference>,
    /// More for people, such as why no difference can be shown.
    pub message: Option<String>,
}

/// A number that was reported otherwise than it is on record. It takes no part in the verdict, which is about bytes: times
/// that a step measures are never the same twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricDifference {
    /// Its name.
    pub name: String,
    /// The slice it belongs to; empty for the whole.
    pub slice: String,
    /// On record; none where it was not reported then.
    pub expected: Option<f64>,
    /// Now; none where it was not reported.
    pub found: Option<f64>,
}

/// What came of doing an attempt again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// The attempt that did the work: never one that took an earlier result over.
    pub attempt: NodeId,
    /// What follows from all of it.
    pub verdict: Verdict,
    /// Output by output, in the order of the step. Empty where nothing could be compared.
    pub outputs: Vec<OutputComparison>,
    /// Numbers that came out otherwise.
    pub metrics: Vec<MetricDifference>,
    /// Everything that it needs and that is not there, each in words.
    pub missing: Vec<String>,
    /// Why, in a sentence, where it failed or there is more to say.
    pub message: Option<String>,
    /// When this began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Operating system and architecture it was tried on, such as `linux-x86_64`.
    pub platform: String,
    /// Name of the machine.
    pub host: String,
    /// Version of runstone that tried it.
    pub tool_version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_output_makes_a_bad_reproduction() {
        use Verdict::{Differs, Failed, Identical, Impossible, LogicallyIdentical};
        for (verdicts, worst) in [
            (vec![], Identical),
            (vec![Identical, LogicallyIdentical, Identical], LogicallyIdentical),
            (vec![LogicallyIdentical, Impossible], Impossible),
            (vec![Impossible, Differs, Identical], Differs),
            (vec![Failed, Differs], Failed),
        ] {
            assert_eq!(Verdict::worst(verdicts.clone()), worst, "{verdicts:?}");
        }
        let holding: Vec<_> = Verdict::ALL.iter().filter(|verdict| verdict.holds()).collect();
        assert_eq!(holding, [&Identical, &LogicallyIdentical]);
    }

    #[test]
    fn the_spelling_in_json_is_the_spelling_on_record() {
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::json!(verdict), verdict.as_str());
            assert_eq!(Verdict::parse(verdict.as_str()), Some(*verdict));
        }
        for kind in DifferenceKind::ALL {
            assert_eq!(serde_json::json!(kind), kind.as_str());
        }
    }
}
