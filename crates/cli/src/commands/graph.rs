//! `runstone graph`: the steps of a pipeline and what they need of each other.

use std::path::PathBuf;

use runstone_core::graph::{Graph, NeedKind, Work};
use runstone_core::name::Name;
use runstone_core::spec::Pipeline;
use runstone_core::spec::model::InputRef;

use crate::context::Context;
use crate::definition::{self, DefinitionArgs};
use crate::error::CommandResult;
use crate::render::count;
use crate::render::diagram::{self, Diagram, Edge, Node, Shape};
use crate::render::style::{BOLD, DIM};
use crate::render::table::{Cell, Column, Table};

/// Draw the steps of a pipeline and what they need of each other
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone graph pipeline.yaml\n  \
    runstone graph pipeline.yaml --mermaid > graph.mmd\n  \
    runstone graph pipeline.yaml --dot > graph.dot")]
pub(crate) struct Args {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    definition: DefinitionArgs,
    /// Print a Mermaid diagram
    #[arg(long, conflicts_with = "dot")]
    mermaid: bool,
    /// Print a diagram for Graphviz
    #[arg(long)]
    dot: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let pipeline = definition::load_valid(&args.file, &args.definition, context)?;
    let graph = Graph::new(&pipeline);
    let text = if args.mermaid {
        diagram::mermaid(&diagram(&pipeline, &graph))
    } else if args.dot {
        diagram::dot(&diagram(&pipeline, &graph))
    } else {
        table(&pipeline, &graph).render(&context.layout())
    };
    context.terminal.print(&text)
}

/// How many tasks a step becomes, where that is more than one or not known yet.
fn tasks(pipeline: &Pipeline, graph: &Graph, node: usize) -> Option<String> {
    let step = graph.step(pipeline, node)?;
    match (&step.foreach, graph.nodes[node].tasks.len()) {
        (Some(foreach), _) => Some(format!("for each {}", foreach.item)),
        (None, 1) => None,
        (None, several) => Some(count(several, "task")),
    }
}

/// Steps in an order in which they could run, each with what it reads and waits for.
fn table(pipeline: &Pipeline, graph: &Graph) -> Table {
    let mut table = Table::new([
        Column::left("STEP").elastic(),
        Column::left("KIND"),
        Column::left("TASKS"),
        Column::left("READS").elastic(),
        Column::left("AFTER").elastic(),
        Column::left("PUBLISHES").elastic(),
    ]);
    for &node in &graph.order {
        let Some(step) = graph.step(pipeline, node) else { continue };
        let after: Vec<&str> = step.after.iter().map(|&index| pipeline.steps[index].name.as_str()).collect();
        let reads: Vec<String> =
            step.inputs.iter().map(|(name, input)| read(pipeline, name.as_str(), &input.from)).collect();
        let outputs: Vec<&str> = step.outputs.keys().map(Name::as_str).collect();
        table.row([
            Cell::styled(step.name.as_str(), BOLD),
            Cell::styled(step.kind.as_str(), DIM),
            tasks(pipeline, graph, node).unwrap_or_default().into(),
            reads.join(", ").into(),
            after.join(", ").into(),
            if outputs == [step.name.as_str()] { String::new() } else { outputs.join(", ") }.into(),
        ]);
    }
    table
}

/// What an input reads, as it could be written in the file.
fn read(pipeline: &Pipeline, slot: &str, from: &InputRef) -> String {
    match from {
        InputRef::Step { step, output } => {
            let step = pipeline.steps[*step].name.as_str();
            if output.as_str() == step { step.to_owned() } else { format!("{step}.{output}") }
        }
        InputRef::Dataset { name, version } => format!("{name}@{version}"),
        InputRef::Path(path) => path.clone(),
        InputRef::Item => format!("each {slot}"),
    }
}

fn diagram(pipeline: &Pipeline, graph: &Graph) -> Diagram {
    let mut diagram = Diagram::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let mut label = vec![graph.label(pipeline, index).to_owned()];
        label.extend(tasks(pipeline, graph, index));
        let shape = if matches!(node.work, Work::Observe(_)) { Shape::Data } else { Shape::Step };
        diagram.nodes.push(Node { label, shape });
    }
    for (to, node) in graph.nodes.iter().enumerate() {
        let mut drawn = Vec::new();
        for need in &node.needs {
            let dashed = need.kind == NeedKind::Order;
            if !drawn.contains(&(need.node, dashed)) {
                drawn.push((need.node, dashed));
                let label = slots(pipeline, graph, to, need.node, dashed);
                diagram.edges.push(Edge { from: need.node, to, label, dashed });
            }
        }
    }
    other_datasets(pipeline, &mut diagram);
    diagram
}

/// The outputs that run along an edge, where they are not simply the step's own.
fn slots(pipeline: &Pipeline, graph: &Graph, to: usize, from: usize, dashed: bool) -> String {
    let Some(step) = graph.step(pipeline, to).filter(|_| !dashed) else { return String::new() };
    let outputs = step.inputs.values().filter_map(|input| match &input.from {
        InputRef::Step { step, output } if *step == from && *output != pipeline.steps[*step].name => {
            Some(output.as_str())
        }
        _ => None,
    });
    outputs.collect::<Vec<_>>().join(", ")
}

/// Datasets of other pipelines are no nodes of the graph, but people look for them.
fn other_datasets(pipeline: &Pipeline, diagram: &mut Diagram) {
    for (to, step) in pipeline.steps.values().enumerate() {
        for input in step.inputs.values() {
            if let InputRef::Dataset { name, version } = &input.from {
                diagram.nodes.push(Node { label: vec![format!("{name}@{version}")], shape: Shape::Data });
                let from = diagram.nodes.len() - 1;
                diagram.edges.push(Edge { from, to, label: String::new(), dashed: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use runstone_core::spec::{Options, Sources, load};

    use super::*;
    use crate::render::Layout;

    const TEXT: &str = "
pipeline: demo
steps:
  raw: {kind: ingest, from: ./data.csv}
  split: {in: {data: raw}, run: ./split.sh, out: [train, test]}
  model:
    kind: train
    in: {data: split.train, extra: ./extra.csv, base: other/model@v2}
    matrix: {lr: [0.1, 0.01]}
    run: ./train.sh
  report: {in: {models: model, data: split.test}, after: [raw], run: ./report.sh}
";

    fn pipeline() -> Pipeline {
        let sources = Sources { name: "demo.yaml", main: TEXT.as_bytes(), overlays: &[] };
        let loaded = load(&sources, &Options::default());
        loaded.pipeline.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
    }

    #[test]
    fn the_table_tells_the_story_in_order() {
        let pipeline = pipeline();
        let text = table(&pipeline, &Graph::new(&pipeline)).render(&Layout::fixed(100));
        let text = anstream::adapter::strip_str(&text).to_string();
        let expected = "\
STEP    KIND       TASKS    READS                                     AFTER  PUBLISHES
raw     ingest
split   transform           raw                                              train, test
model   train      2 tasks  split.train, ./extra.csv, other/model@v2
report  transform           model, split.test                         raw
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_diagram_has_files_and_other_datasets() {
        let pipeline = pipeline();
        let expected = "\
flowchart LR
  n0[\"raw\"]
  n1[\"split\"]
  n2[\"model<br/>2 tasks\"]
  n3[\"report\"]
  n4([\"./extra.csv\"])
  n5([\"other/model@v2\"])
  n0 --> n1
  n1 -->|\"train\"| n2
  n4 --> n2
  n2 --> n3
  n1 -->|\"test\"| n3
  n0 -.-> n3
  n5 --> n2
";
        assert_eq!(diagram::mermaid(&diagram(&pipeline, &Graph::new(&pipeline))), expected);
    }
}
