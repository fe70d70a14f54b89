//! Metrics side by side: a row for each task, a column for each metric; or two runs, a row for each metric.

use std::collections::{BTreeMap, HashMap};

use unicode_width::UnicodeWidthStr as _;

use super::Layout;
use super::quantity::number;
use super::style::{BOLD, DIM, PLAIN};
use super::table::{Cell, Column, Table};
use crate::commands::metrics::Measurement;
use crate::error::{CommandError, CommandResult};

/// What a row is about: run, task, slice.
type Row<'a> = (i64, &'a str, &'a str);

/// A row for each task (and slice), a column for each metric. Metrics that do not fit are named in the note.
pub(crate) fn pivot(
    measurements: &[Measurement],
    sort: Option<&str>,
    ascending: bool,
    layout: &Layout,
) -> CommandResult<(String, Option<String>)> {
    let mut names: Vec<&str> = Vec::new();
    let mut rows: Vec<(Row<'_>, BTreeMap<&str, f64>)> = Vec::new();
    let mut positions: HashMap<Row<'_>, usize> = HashMap::new();
    for it in measurements {
        if !names.contains(&it.metric.as_str()) {
            names.push(&it.metric);
        }
        let row = (it.run_number, it.task.as_str(), it.slice.as_str());
        let at = *positions.entry(row).or_insert(rows.len());
        if at == rows.len() {
            rows.push((row, BTreeMap::new()));
        }
        rows[at].1.insert(&it.metric, it.value);
    }
    if let Some(sort) = sort {
        if !names.contains(&sort) {
            let hint = format!("there are {}", names.join(", "));
            return Err(CommandError::not_found(format!("no step reported {sort}")).hint(hint));
        }
        // What was asked for stands first, and what has no such metric last.
        names.sort_by_key(|name| *name != sort);
        rows.sort_by(|(_, a), (_, b)| match (a.get(sort), b.get(sort)) {
            (Some(a), Some(b)) if ascending => a.total_cmp(b),
            (Some(a), Some(b)) => b.total_cmp(a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
    }
    let (shown, hidden) = fitting(&names, &rows, layout);
    let mut columns = vec![Column::right("RUN"), Column::left("TASK").elastic(), Column::left("SLICE").elastic()];
    columns.extend(shown.iter().map(|name| Column::right(*name)));
    let mut table = Table::new(columns);
    for ((run, task, slice), values) in &rows {
        let mut cells = vec![Cell::styled(format!("#{run}"), DIM), Cell::styled(task, BOLD), Cell::from(slice)];
        cells.extend(shown.iter().map(|name| Cell::from(values.get(name).copied().map(number).unwrap_or_default())));
        table.row(cells);
    }
    let note = (!hidden.is_empty()).then(|| format!("also reported: {} (--metric NAME shows them)", hidden.join(", ")));
    Ok((table.render(layout), note))
}

/// The metrics that fit beside the other columns, and those that do not. At least one is shown.
fn fitting<'a>(
    names: &[&'a str],
    rows: &[(Row<'_>, BTreeMap<&str, f64>)],
    layout: &Layout,
) -> (Vec<&'a str>, Vec<&'a str>) {
    let Some(width) = layout.width else { return (names.to_vec(), Vec::new()) };
    let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let task = widest(&mut rows.iter().map(|((_, task, _), _)| task.width())).min(30);
    let slice = widest(&mut rows.iter().map(|((_, _, slice), _)| slice.width())).min(20);
    let mut left = width.saturating_sub(6 + task + slice + 2);
    let mut fits = 0;
    for name in names {
        let values = rows.iter().filter_map(|(_, values)| values.get(name)).map(|value| number(*value).width());
        let column = widest(&mut values.chain([name.width()])) + 2;
        if column > left {
            break;
        }
        left -= column;
        fits += 1;
    }
    let (shown, hidden) = names.split_at(fits.max(1).min(names.len()));
    (shown.to_vec(), hidden.to_vec())
}

/// The value of a metric in two runs.
type BeforeAfter = (Option<f64>, Option<f64>);

/// A row for each metric of two runs, with the change.
pub(crate) fn comparison(measurements: &[Measurement], before: i64, after: i64, layout: &Layout) -> String {
    let mut rows: BTreeMap<(&str, &str, &str), BeforeAfter> = BTreeMap::new();
    for it in measurements {
        let row = rows.entry((&it.task, &it.slice, &it.metric)).or_default();
        if it.run_number == before {
            row.0 = Some(it.value);
        }
        if it.run_number == after {
            row.1 = Some(it.value);
        }
    }
    let mut table = Table::new([
        Column::left("TASK").elastic(),
        Column::left("SLICE").elastic(),
        Column::left("METRIC"),
        Column::right(format!("#{before}")),
        Column::right(format!("#{after}")),
        Column::right("CHANGE"),
    ]);
    for ((task, slice, metric), (old, new)) in rows {
        let change = match (old, new) {
            (Some(old), Some(new)) if old == new => "=".to_owned(),
            (Some(old), Some(new)) => format!("{}{}", if new > old { "+" } else { "" }, number(new - old)),
            (None, _) => "new".to_owned(),
            (_, None) => "gone".to_owned(),
        };
        let style = if change == "=" { DIM } else { PLAIN };
        let text = |value: Option<f64>| value.map(number).unwrap_or_default();
        table.row([
            Cell::styled(task, BOLD),
            slice.into(),
            metric.into(),
            text(old).into(),
            text(new).into(),
            Cell::styled(change, style),
        ]);
    }
    table.render(layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(run_number: i64, cell: &str, metric: &str, value: f64) -> Measurement {
        Measurement {
            run_number,
            task: format!("model{{{cell}}}"),
            step: "model".into(),
            cell: cell.into(),
            metric: metric.into(),
            slice: String::new(),
            value,
            n: None,
        }
    }

    fn measurements() -> Vec<Measurement> {
        vec![
            measurement(42, "lr=0.1", "accuracy", 0.93),
            measurement(42, "lr=0.1", "f1", 0.912_345_678),
            measurement(42, "lr=0.01", "f1", 0.95),
            measurement(41, "lr=0.1", "f1", 0.9),
            measurement(41, "lr=0.2", "accuracy", 0.5),
        ]
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn tasks_are_rows_and_metrics_columns() {
        let (text, note) = pivot(&measurements(), Some("f1"), false, &Layout::fixed(80)).unwrap();
        let expected = "\
RUN  TASK                  f1  accuracy
#42  model{lr=0.01}      0.95
#42  model{lr=0.1}   0.912346      0.93
#41  model{lr=0.1}        0.9
#41  model{lr=0.2}                  0.5
";
        assert_eq!(plain(&text), expected);
        assert_eq!(note, None);
        let (text, _) = pivot(&measurements(), Some("f1"), true, &Layout::fixed(80)).unwrap();
        assert!(plain(&text).lines().nth(1).unwrap().starts_with("#41  model{lr=0.1}"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (text, note) = pivot(&measurements(), None, false, &Layout::fixed(40)).unwrap();
        assert!(!plain(&text).contains("f1"), "{text}");
        assert!(note.unwrap().contains("f1"));
    }

    #[test]
    fn an_unknown_metric_is_named_with_those_there_are() {
        let error = pivot(&measurements(), Some("auc"), false, &Layout::fixed(80)).unwrap_err();
        assert_eq!(error.hints(), ["there are accuracy, f1"]);
    }

    #[test]
    fn two_runs_are_compared_metric_by_metric() {
        let expected = "\
TASK            METRIC     #41       #42    CHANGE
model{lr=0.01}  f1                  0.95       new
model{lr=0.1}   accuracy            0.93       new
model{lr=0.1}   f1         0.9  0.912346  +0.0123457
model{lr=0.2}   accuracy   0.5                gone
";
        let text = plain(&comparison(&measurements(), 41, 42, &Layout::fixed(80)));
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), expected.split_whitespace().collect::<Vec<_>>());
    }
}
