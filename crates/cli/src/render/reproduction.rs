//! What came of doing attempts again, for people: a line for each, and below it what is to be said.

use anstyle::Style;
use runstone_core::reproduction::{DifferenceKind, Verdict};

use super::derivation::short_hash;
use super::quantity::{duration, number, size};
use super::style::{BAD, BOLD, DIM, DOUBT, GOOD, paint};
use super::time::date_time;
use super::{Layout, count, harmless};
use crate::view::reproduction::{DifferenceView, MetricView, OutputView, ReproductionView, Reproductions};

/// An attempt with what is to be said about it; with `all` its outputs also where they are identical.
pub(crate) fn attempt(it: &ReproductionView, all: bool) -> String {
    format!("{}\n{}", headline(it), details(it, all))
}

/// An earlier try: the same with when and by whom.
pub(crate) fn past(it: &ReproductionView, layout: &Layout) -> String {
    let (user, host) = (harmless(&it.user), harmless(&it.host));
    let when = date_time(it.ended_at.0, layout.zone);
    format!("{}  {}\n{}", headline(it), paint(DIM, &format!("{when} by {user} on {host}")), details(it, false))
}

/// `identical model{lr=0.1} in run #42  1.23 s`.
fn headline(it: &ReproductionView) -> String {
    let verdict = paint(style(it.verdict), word(it.verdict));
    let task = paint(BOLD, &harmless(&it.task));
    format!("{verdict} {task} in run #{}  {}", it.run_number, duration(it.wall_us))
}

fn details(it: &ReproductionView, all: bool) -> String {
    let mut out = String::new();
    for line in it.message.iter().flat_map(|message| message.lines()) {
        out.push_str(&format!("  {}\n", harmless(line)));
    }
    for missing in &it.missing {
        for (at, line) in missing.lines().enumerate() {
            let bullet = if at == 0 { paint(DIM, "•") } else { " ".to_owned() };
            out.push_str(&format!("  {bullet} {}\n", harmless(line)));
        }
    }
    for output in it.outputs.iter().filter(|output| all || output.verdict != Verdict::Identical) {
        out.push_str(&format!("  {}\n", of_output(output)));
    }
    for metric in &it.metrics {
        out.push_str(&format!("  {}\n", of_metric(metric)));
    }
    out
}

/// What all of it comes to.
pub(crate) fn closing(all: &Reproductions) -> String {
    format!("{}: {}\n", paint(BOLD, &harmless(&all.version)), tally(all))
}

/// `15 attempts, 14 identical, 1 differs`.
pub(crate) fn tally(all: &Reproductions) -> String {
    let mut text = count(all.attempts.len(), "attempt");
    for verdict in Verdict::ALL {
        let number = all.attempts.iter().filter(|attempt| attempt.verdict == *verdict).count();
        if number > 0 {
            text.push_str(&format!(", {number} {}", word(*verdict)));
        }
    }
    text
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "identical",
        Verdict::LogicallyIdentical => "logically identical",
        Verdict::Impossible => "impossible",
        Verdict::Differs => "differs",
        Verdict::Failed => "failed",
    }
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Identical | Verdict::LogicallyIdentical => GOOD,
        Verdict::Impossible => DOUBT,
        Verdict::Differs | Verdict::Failed => BAD,
    }
}

fn of_output(it: &OutputView) -> String {
    let side = |hash: &Option<String>, bytes: Option<u64>| match hash {
        Some(hash) => format!("{} ({})", short_hash(hash), size(bytes.unwrap_or(0))),
        None => "nothing".to_owned(),
    };
    let (expected, found) = (side(&it.expected_hash, it.expected_bytes), side(&it.found_hash, it.found_bytes));
    let name = harmless(&it.output);
    if it.verdict == Verdict::Identical {
        return format!("{name}  {expected}");
    }
    let mut text = format!("{name}  {}: {expected} on record, {found} now", word(it.verdict));
    for more in [it.difference.as_ref().map(of_difference), it.message.as_deref().map(harmless)].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(&more);
    }
    text
}

fn of_difference(it: &DifferenceView) -> String {
    let name = if it.path.is_empty() { "it".to_owned() } else { harmless(&it.path) };
    let sizes = |text: String| match (it.expected_bytes, it.found_bytes) {
        (Some(expected), Some(found)) if expected != found && !it.path.is_empty() => {
            format!("{text} ({} on record, {} now)", size(expected), size(found))
        }
        _ => text,
    };
    match (it.kind, it.offset_bytes) {
        (DifferenceKind::Content, Some(offset)) => sizes(format!("{name} first differs at byte {offset}")),
        (DifferenceKind::Content, None) => sizes(format!("{name} differs")),
        (DifferenceKind::Missing, _) => format!("{name} is missing now"),
        (DifferenceKind::Added, _) => format!("{name} is not on record"),
        (DifferenceKind::Type, _) => format!("{name} is of another type"),
        (DifferenceKind::Mode, _) => format!("{name} may be executed on one side only"),
        (DifferenceKind::Target, _) => format!("{name} leads elsewhere"),
    }
}

fn of_metric(it: &MetricView) -> String {
    let side = |value: Option<f64>| value.map_or_else(|| "nothing".to_owned(), number);
    let slice = if it.slice.is_empty() { String::new() } else { format!(" of {}", harmless(&it.slice)) };
    let text = format!("{} on record, {} now", side(it.expected), side(it.found));
    paint(DIM, &format!("metric {}{slice}: {text}", harmless(&it.metric)))
}

#[cfg(test)]
mod tests {
    use runstone_core::time::Timestamp;

    use super::*;
    use runstone_lineage::view::Rfc3339;

    fn output(name: &str, verdict: Verdict) -> OutputView {
        OutputView {
            output: name.to_owned(),
            verdict,
            expected_hash: Some(format!("b3:{}", "a".repeat(64))),
            found_hash: Some(format!("b3:{}", "b".repeat(64))),
            expected_bytes: Some(2048),
            found_bytes: Some(20),
            difference: None,
            message: None,
        }
    }

    fn view(verdict: Verdict) -> ReproductionView {
        ReproductionView {
            node: 7,
            run_number: 42,
            pipeline: "p".into(),
            task: "model{lr=0.1}".into(),
            verdict,
            message: None,
            outputs: Vec::new(),
            metrics: Vec::new(),
            missing: Vec::new(),
            started_at: Rfc3339(Timestamp(0)),
            ended_at: Rfc3339(Timestamp(1_234_567)),
            wall_us: 1_234_567,
            platform: "linux-x86_64".into(),
            user: "ada".into(),
            host: "lab".into(),
            tool_version: "0".into(),
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn what_differs_is_told_below_the_attempt() {
        let difference = DifferenceView {
            path: "sub/x".into(),
            kind: DifferenceKind::Content,
            offset_bytes: Some(12),
            expected_bytes: Some(20),
            found_bytes: Some(21),
        };
        let it = ReproductionView {
            outputs: vec![
                output("log", Verdict::Identical),
                OutputView { difference: Some(difference), ..output("model", Verdict::Differs) },
                OutputView { found_hash: None, found_bytes: None, ..output("extra", Verdict::Differs) },
            ],
            metrics: vec![MetricView { metric: "f1".into(), slice: "sex=f".into(), expected: Some(0.5), found: None }],
            ..view(Verdict::Differs)
        };
        let expected = "\
differs model{lr=0.1} in run #42  1.23 s
  model  differs: b3:aaaaaaaaaaaa (2.00 KiB) on record, b3:bbbbbbbbbbbb (20 B) now; sub/x first differs at byte 12 (20 B on record, 21 B now)
  extra  differs: b3:aaaaaaaaaaaa (2.00 KiB) on record, nothing now
  metric f1 of sex=f: 0.5 on record, nothing now
";
        assert_eq!(plain(&attempt(&it, false)), expected);
        assert!(plain(&attempt(&it, true)).contains("\n  log  b3:aaaaaaaaaaaa (2.00 KiB)\n"));
    }

    #[test]
    fn what_is_missing_is_listed_and_all_of_it_counted() {
        let it = ReproductionView {
            missing: vec!["code file train.py (b3:1234) is gone".into(), "no package\n  | at all".into()],
            ..view(Verdict::Impossible)
        };
        let expected = "\
impossible model{lr=0.1} in run #42  1.23 s
  • code file train.py (b3:1234) is gone
  • no package
      | at all
";
        assert_eq!(plain(&attempt(&it, true)), expected);
        let all = Reproductions::new("p/model@v3".into(), vec![it, view(Verdict::Identical), view(Verdict::Identical)]);
        assert_eq!(all.verdict, Verdict::Impossible);
        assert_eq!(plain(&closing(&all)), "p/model@v3: 3 attempts, 2 identical, 1 impossible\n");
    }
}
