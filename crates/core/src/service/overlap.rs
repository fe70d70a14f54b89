//! What becomes of a fire whose earlier runs are not over.

use super::record::Overlap;

/// What to do with a new submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It is put in the queue, where it waits for its turn.
    Submit,
    /// It is put in the queue, and those before it are asked to end.
    SubmitAndCancel,
    /// It is not put anywhere, for this reason.
    Skip(String),
}

/// Judges a fire, given the numbers of the runs of its group that are not over, in order. To be asked under a lock that
/// keeps others from submitting to the group meanwhile.
#[must_use]
pub fn judge(overlap: Overlap, live: &[i64]) -> Judgement {
    match (overlap, live) {
        (_, []) | (Overlap::Queue | Overlap::Allow, _) => Judgement::Submit,
        (Overlap::Replace, _) => Judgement::SubmitAndCancel,
        (Overlap::Skip, [first, ..]) => Judgement::Skip(format!("run #{first} is not over (overlap: skip)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_live_run_matters() {
        for overlap in [Overlap::Queue, Overlap::Skip, Overlap::Replace, Overlap::Allow] {
            assert_eq!(judge(overlap, &[]), Judgement::Submit);
        }
        assert_eq!(judge(Overlap::Queue, &[4]), Judgement::Submit);
        assert_eq!(judge(Overlap::Allow, &[4]), Judgement::Submit);
        assert_eq!(judge(Overlap::Replace, &[4, 5]), Judgement::SubmitAndCancel);
        assert_eq!(judge(Overlap::Skip, &[4, 5]), Judgement::Skip("run #4 is not over (overlap: skip)".to_owned()));
    }
}
