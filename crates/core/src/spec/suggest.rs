//! "Did you mean": the nearest of the names that would have been right.

use strsim::damerau_levenshtein;

/// Longer texts are not compared: nobody mistypes them.
const LONGEST: usize = 64;
/// So many candidates are looked at; a hostile file has 10^5 steps and as many wrong references.
const MOST: usize = 2_000;

/// The candidate that is at most a third of its letters away from `text`.
pub(crate) fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let folded = text.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .take(MOST)
        .filter(|candidate| candidate.len() <= LONGEST && candidate.len().abs_diff(text.len()) <= 3)
        .map(|candidate| (damerau_levenshtein(&folded, &candidate.replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(text.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_offered() {
        let names = ["timeout", "retry", "run", "out"];
        assert_eq!(nearest("timeuot", names), Some("timeout"));
        assert_eq!(nearest("Retry", names), Some("retry"));
        assert_eq!(nearest("elephant", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("continue-on-error", ["continue_on_error"]), Some("continue_on_error"));
    }
}
