//! Names as they are written, and the nearest one to a name that does not exist.

use super::lex::{is_word, quote};

/// Words that mean something by themselves; a name cannot start with one.
pub(super) const KEYWORDS: [&str; 6] = ["and", "or", "not", "in", "true", "false"];

/// Where the metrics of a step are found when their name alone will not do.
pub(super) const METRICS: &str = "metrics";

/// How many known names are looked at for one message; a scope may hold every step of a huge pipeline.
const MAX_CANDIDATES: usize = 500;

/// Longer names get no suggestion: comparing costs their lengths multiplied.
const MAX_COMPARED_LEN: usize = 64;

/// A dotted name as an expression has to write it: `params.mode`, `params['min-f1']`, `metrics['top-5']`.
pub(super) fn spell(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (position, segment) in name.split('.').enumerate() {
        match (position, is_word(segment)) {
            (0, true) if !KEYWORDS.contains(&segment) => out.push_str(segment),
            (0, _) => out = format!("{METRICS}[{}]", quote(segment)),
            (_, true) => out.extend([".", segment]),
            (_, false) => out.extend(["[", &quote(segment), "]"]),
        }
    }
    out
}

/// A metric's full name, for one that is written alone: `f1` is `metrics.f1`.
pub(super) fn full_metric(name: &str) -> Option<String> {
    (!name.contains('.')).then(|| format!("{METRICS}.{name}"))
}

/// The candidate that was most likely meant by `name`.
pub(super) fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    if name.len() > MAX_COMPARED_LEN {
        return None;
    }
    candidates
        .take(MAX_CANDIDATES)
        .filter_map(|candidate| distance(name, &candidate).map(|distance| (distance, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How far apart two names are; `None` where one does not suggest the other.
fn distance(name: &str, candidate: &str) -> Option<usize> {
    let after_root = candidate.split_once('.').map_or("", |(_, rest)| rest);
    let cut_at_hyphen = candidate.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    if name.eq_ignore_ascii_case(candidate) || name == after_root || cut_at_hyphen {
        return Some(0);
    }
    let limit = (name.len() / 3).max(1);
    if name.len().abs_diff(candidate.len()) > limit {
        return None;
    }
    // A short name differs from every other short name by little.
    let distance = strsim::osa_distance(name, candidate);
    (distance <= limit && distance < name.len()).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        let known = ["params.mode", "params.min-f1", "steps.split.metrics.rows", "metrics.top_1"];
        let nearest = |name: &str| nearest(name, known.iter().map(ToString::to_string));
        for (name, expected) in [
            ("mode", Some("params.mode")),
            ("param.mode", Some("params.mode")),
            ("Params.Mode", Some("params.mode")),
            ("params.min", Some("params.min-f1")),
            ("steps.split.metrics.row", Some("steps.split.metrics.rows")),
            ("x", None),
            ("elephant", None),
        ] {
            assert_eq!(nearest(name).as_deref(), expected, "{name}");
        }
        assert_eq!(nearest(&"m".repeat(100_000)), None);
    }

    #[test]
    fn every_name_can_be_written() {
        for (name, text) in [
            ("f1", "f1"),
            ("params.min-f1", "params['min-f1']"),
            ("params.in", "params.in"),
            ("top-5", "metrics['top-5']"),
            ("in", "metrics['in']"),
            ("a..b'", "a[''][\"b'\"]"),
        ] {
            assert_eq!(spell(name), text.replace("\"b'\"", r"'b\''"), "{name}");
        }
    }
}
