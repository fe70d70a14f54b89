//! `runstone datasets`: what datasets there are, and the versions of one.

use runstone_core::record::DatasetRecord;
use runstone_core::store::Store;
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::render::quantity::size;
use crate::render::style::{BOLD, DIM, DOUBT};
use crate::render::table::{Cell, Column, Table};
use crate::render::time::date_time;
use crate::render::{Layout, count};
use runstone_lineage::view::Rfc3339;
use runstone_lineage::view::VersionView;
use runstone_lineage::{find, view};

/// List datasets, or the versions of one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone datasets\n  \
    runstone datasets tickets/model\n  \
    runstone datasets model --limit 100 --json")]
pub(crate) struct Args {
    /// The dataset: its full name, or the last part of it
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// At most so many publications of a dataset
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: u32,
    #[command(flatten)]
    format: FormatArgs,
}

/// A dataset with its newest version.
#[derive(Debug, Serialize)]
struct DatasetView {
    name: String,
    versions: i64,
    /// One for each cell.
    latest: Vec<VersionView>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let layout = context.layout();
    let Some(name) = &args.name else {
        let datasets = datasets(&mut *store)?;
        if args.format.json {
            return context.terminal.print_json(&datasets);
        }
        if datasets.is_empty() {
            return Err(CommandError::not_found("there is no dataset yet"));
        }
        return context.terminal.print(&dataset_table(&datasets, &layout).render(&layout));
    };
    let name = find::full_name(&mut *store, name)?;
    let records = store.materializations(&name, args.limit)?;
    let versions = view::with_producers(&mut *store, &records)?;
    if args.format.json {
        return context.terminal.print_json(&versions);
    }
    context.terminal.print(&version_table(&versions, &layout).render(&layout))?;
    if versions.len() == usize::try_from(args.limit).unwrap_or(usize::MAX) {
        context.terminal.note("older ones are not shown; --limit shows more");
    }
    Ok(())
}

fn datasets(store: &mut dyn Store) -> CommandResult<Vec<DatasetView>> {
    let records = store.datasets("")?;
    let all: Vec<_> = records.iter().flat_map(|dataset| dataset.latest.iter().cloned()).collect();
    let mut views = view::with_producers(store, &all)?.into_iter();
    let view = |dataset: DatasetRecord| DatasetView {
        latest: views.by_ref().take(dataset.latest.len()).collect(),
        name: dataset.name,
        versions: dataset.versions,
    };
    Ok(records.into_iter().map(view).collect())
}

fn dataset_table(datasets: &[DatasetView], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::left("DATASET").elastic(),
        Column::right("VERSIONS"),
        Column::left("LATEST"),
        Column::right("SIZE"),
        Column::right("ROWS"),
        Column::left("PUBLISHED"),
    ]);
    for dataset in datasets {
        let newest = dataset.latest.iter().max_by_key(|version| version.created_at.0);
        let latest = match &dataset.latest[..] {
            [] => "none".to_owned(),
            [only] => format!("v{}", only.version),
            several => count(several.len(), "cell"),
        };
        let total: u64 = dataset.latest.iter().map(|version| version.size_bytes).sum();
        let rows: Option<u64> = dataset.latest.iter().map(|version| version.rows).sum();
        table.row([
            Cell::styled(&dataset.name, BOLD),
            dataset.versions.to_string().into(),
            latest.into(),
            newest.map(|_| size(total)).unwrap_or_default().into(),
            newest.and(rows).map(|rows| rows.to_string()).unwrap_or_default().into(),
            Cell::styled(newest.map(|it| when(it.created_at, layout)).unwrap_or_default(), DIM),
        ]);
    }
    table
}

fn version_table(versions: &[VersionView], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::left("VERSION"),
        Column::left("CELL").elastic(),
        Column::left("HASH"),
        Column::right("SIZE"),
        Column::right("ROWS"),
        Column::left("MADE BY").elastic(),
        Column::left("PUBLISHED"),
        Column::left("NOTE"),
    ]);
    for version in versions {
        let made_by = version.producer.as_ref().map(|it| format!("#{} {}", it.run_number, it.task));
        table.row([
            Cell::styled(format!("v{}", version.version), BOLD),
            version.subset.as_str().into(),
            version.short_hash().into(),
            size(version.size_bytes).into(),
            version.rows.map(|rows| rows.to_string()).unwrap_or_default().into(),
            made_by.unwrap_or_default().into(),
            Cell::styled(when(version.created_at, layout), DIM),
            Cell::styled(note(version), DOUBT),
        ]);
    }
    table
}

fn note(version: &VersionView) -> &'static str {
    match (version.tainted, version.evicted) {
        (true, true) => "tainted, evicted",
        (true, false) => "tainted",
        (false, true) => "evicted",
        (false, false) => "",
    }
}

fn when(at: Rfc3339, layout: &Layout) -> String {
    date_time(at.0, layout.zone)
}

#[cfg(test)]
mod tests {
    use runstone_core::hash::ContentHash;
    use runstone_core::record::ContentKind;
    use runstone_core::time::Timestamp;

    use super::*;
    use runstone_lineage::view::ProducerView;

    fn version(number: i64, subset: &str) -> VersionView {
        VersionView {
            node: number,
            dataset: "tickets/model".into(),
            version: number,
            subset: subset.into(),
            hash: ContentHash::of(subset.as_bytes()).to_string(),
            kind: ContentKind::File,
            size_bytes: 12_600,
            files: 1,
            rows: Some(344),
            file_name: "model.pkl".into(),
            created_at: Rfc3339(Timestamp(1_700_000_000_000_000)),
            tainted: number == 2,
            evicted: number == 1,
            attempt_node: 1,
            producer: Some(ProducerView {
                run_number: 42,
                task: format!("model{{{subset}}}"),
                attempt_id: String::new(),
                attempt_number: 1,
            }),
        }
    }

    fn plain(table: &Table) -> String {
        anstream::adapter::strip_str(&table.render(&Layout::fixed(80))).to_string()
    }

    #[test]
    fn datasets_are_listed_with_their_newest_version() {
        let datasets = [
            DatasetView {
                name: "tickets/model".into(),
                versions: 2,
                latest: vec![version(1, "a=1"), version(2, "a=2")],
            },
            DatasetView { name: "tickets/raw".into(), versions: 1, latest: vec![version(1, "")] },
            DatasetView { name: "tickets/bad".into(), versions: 1, latest: vec![] },
        ];
        let expected = "\
DATASET        VERSIONS  LATEST       SIZE  ROWS  PUBLISHED
tickets/model         2  2 cells  24.6 KiB   688  2023-11-14 22:13:20
tickets/raw           1  v1       12.3 KiB   344  2023-11-14 22:13:20
tickets/bad           1  none
";
        assert_eq!(plain(&dataset_table(&datasets, &Layout::fixed(80))), expected);
    }

    #[test]
    fn versions_keep_their_hash_and_fit() {
        let text =
            plain(&version_table(&[version(2, "kind=nearest,seed=1"), version(1, "seed=1")], &Layout::fixed(80)));
        assert!(text.contains(version(1, "seed=1").short_hash()), "{text}");
        assert!(text.contains("tainted") && text.contains("evicted"), "{text}");
    }
}
