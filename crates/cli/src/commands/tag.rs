//! `runstone tag`: names of versions that people give and move.

use clap::Subcommand;
use runstone_core::lineage::tag::{Expect, NewTagMove, TagMove, TagMoved, TagName};
use runstone_core::record::NodeId;
use runstone_core::reference::DatasetRef;
use runstone_core::store::Store;
use runstone_engine::environment;
use runstone_lineage::find;
use runstone_lineage::view::{Rfc3339, VersionView, with_producers};
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::{Context, now};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::Layout;
use crate::render::style::{BOLD, DIM};
use crate::render::table::{Cell, Column, Table};
use crate::render::time::date_time;

/// List tags, set or remove one, show where it has led
///
/// A tag is a name that can be moved, such as `champion`: `tickets/model@champion` names the version it leads to, on the
/// command line and in pipelines. Every move is kept.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    runstone tag\n  \
    runstone tag set champion 'tickets/model{lr=0.1}@v3' --note best\n  \
    runstone tag set champion tickets/model@v4 --expect 1\n  \
    runstone tag history champion tickets/model\n  \
    runstone tag remove champion tickets/model"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only those of this dataset
    #[arg(value_name = "NAME")]
    dataset: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let a tag lead to a version
    Set(SetArgs),
    /// Take a tag away; its moves stay
    Remove(RemoveArgs),
    /// Show where a tag has led, newest first
    History(HistoryArgs),
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    /// The tag
    tag: TagName,
    /// The version; where it has cells, all that are named
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: DatasetRef,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// The tag
    tag: TagName,
    /// The dataset
    #[arg(value_name = "NAME")]
    dataset: String,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, clap::Args)]
struct HowArgs {
    /// Only if the tag was moved so many times so far (0: never)
    #[arg(long, value_name = "REV")]
    expect: Option<i64>,
    /// Why, kept with the move
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, clap::Args)]
struct HistoryArgs {
    /// The tag
    tag: TagName,
    /// The dataset
    #[arg(value_name = "NAME")]
    dataset: String,
    #[command(flatten)]
    format: FormatArgs,
}

/// A move of a tag, as programs get it.
#[derive(Debug, Serialize)]
struct TagView {
    dataset: String,
    tag: String,
    rev: i64,
    /// Empty where it was taken away.
    versions: Vec<VersionView>,
    moved_at: Rfc3339,
    user: String,
    host: String,
    note: Option<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    match &args.action {
        None => {
            let dataset = args.dataset.as_ref().map(|name| find::full_name(&mut *store, name)).transpose()?;
            let tags = store.tags(dataset.as_deref())?;
            let tags = views(&mut *store, tags)?;
            if tags.is_empty() && !args.format.json {
                return Err(
                    CommandError::not_found("there is no tag").hint("`runstone tag set NAME VERSION` makes one")
                );
            }
            show(&tags, args.format.json, context)
        }
        Some(Action::History(args)) => {
            let dataset = find::full_name(&mut *store, &args.dataset)?;
            let moves = store.tag_history(&dataset, &args.tag)?;
            if moves.is_empty() {
                return Err(CommandError::not_found(format!("{dataset} never had a tag {}", args.tag)));
            }
            let moves = views(&mut *store, moves)?;
            show(&moves, args.format.json, context)
        }
        Some(Action::Set(args)) => {
            let found = find::versions(&mut *store, &args.dataset)?;
            if found.iter().any(|version| version.dataset != found[0].dataset) {
                return Err(CommandError::usage("several datasets hold this content; name the one that is meant"));
            }
            let targets = found.iter().map(|version| version.id).collect();
            set(&mut *store, context, (&found[0].dataset, &args.tag), targets, &args.how)
        }
        Some(Action::Remove(args)) => {
            let dataset = find::full_name(&mut *store, &args.dataset)?;
            if !store.tags(Some(&dataset))?.iter().any(|tag| tag.name == args.tag) {
                return Err(CommandError::not_found(format!("{dataset} has no tag {}", args.tag)));
            }
            set(&mut *store, context, (&dataset, &args.tag), Vec::new(), &args.how)
        }
    }
}

fn set(
    store: &mut dyn Store,
    context: &mut Context,
    (dataset, tag): (&str, &TagName),
    targets: Vec<NodeId>,
    how: &HowArgs,
) -> CommandResult<()> {
    let removed = targets.is_empty();
    let moved = store.move_tag(&NewTagMove {
        dataset: dataset.to_owned(),
        name: tag.clone(),
        targets,
        expect: how.expect.map_or(Expect::Anything, Expect::Rev),
        at: now(),
        user: environment::user(&context.variables),
        host: environment::host(),
        note: how.note.clone(),
    })?;
    match moved {
        TagMoved::Moved(rev) if removed => {
            context.terminal.note(format_args!("{dataset}@{tag} is gone (move {rev})"));
            Ok(())
        }
        TagMoved::Moved(rev) => {
            context.terminal.note(format_args!("{dataset}@{tag} is set (move {rev})"));
            Ok(())
        }
        TagMoved::Overtaken(last) => {
            let message = match last {
                Some(last) => format!("{} moved {dataset}@{tag} meanwhile: it is at move {}", last.user, last.rev),
                None => format!("{dataset}@{tag} was never set"),
            };
            Err(CommandError::new(ErrorKind::Refused, message).hint(format!("`runstone tag history {tag} {dataset}`")))
        }
        TagMoved::Unknown => Err(CommandError::not_found(format!("{dataset} has no such version"))),
    }
}

fn views(store: &mut dyn Store, moves: Vec<TagMove>) -> CommandResult<Vec<TagView>> {
    let mut views = Vec::with_capacity(moves.len());
    for step in moves {
        let targets = store.materializations_by_id(&step.targets)?;
        views.push(TagView {
            versions: with_producers(store, &targets)?,
            dataset: step.dataset,
            tag: step.name.to_string(),
            rev: step.rev,
            moved_at: Rfc3339(step.at),
            user: step.user,
            host: step.host,
            note: step.note,
        });
    }
    Ok(views)
}

fn show(tags: &[TagView], json: bool, context: &mut Context) -> CommandResult<()> {
    if json {
        return context.terminal.print_json(&tags);
    }
    let layout = context.layout();
    context.terminal.print(&table(tags, &layout).render(&layout))
}

fn table(tags: &[TagView], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::left("TAG").elastic(),
        Column::right("MOVE"),
        Column::left("LEADS TO").elastic(),
        Column::left("MOVED"),
        Column::left("BY"),
        Column::left("NOTE").prose(),
    ]);
    for tag in tags {
        let versions: Vec<String> = tag.versions.iter().map(VersionView::reference).collect();
        let leads = if versions.is_empty() { "nowhere".to_owned() } else { versions.join(", ") };
        table.row([
            Cell::styled(format!("{}@{}", tag.dataset, tag.tag), BOLD),
            tag.rev.to_string().into(),
            leads.into(),
            Cell::styled(date_time(tag.moved_at.0, layout.zone), DIM),
            tag.user.clone().into(),
            tag.note.clone().unwrap_or_default().into(),
        ]);
    }
    table
}
