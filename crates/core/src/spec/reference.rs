//! The reference page of the language, in Markdown. Made from the table of fields and the list of error codes.

use super::diagnostic::Code;
use super::fields::{Block, Field, Support};
use super::shape::expected;
use super::{DIAGNOSTICS, Options};

/// The whole page.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for block in Block::ALL {
        page.push_str(&section(block));
    }
    page.push_str(&limits());
    page.push_str("\n## Errors\n\nEvery message carries one of these codes.\n\n| code | meaning |\n| --- | --- |\n");
    for (code, doc) in Code::ALL {
        page.push_str(&format!("| `{code}` |{doc} |\n"));
    }
    page
}

const INTRODUCTION: &str = "\
# Fields of a pipeline file

<!-- Generated from the table of fields. To change it, change the table and run the tests with UPDATE_GOLDEN=1. -->

A pipeline is one YAML 1.2 document (`yes`, `no` and `on` are text). An unknown key is an error. Maps may use anchors,
aliases and `<<`. Names of pipelines, steps, inputs, outputs, parameters, axes and pools follow `[a-z][a-z0-9_-]{0,63}`,
and no two that a step sees may differ only in `-` and `_`.

Durations are whole numbers with the units `ms`, `s`, `m`, `h`, `d`, `w`, largest first: `30s`, `1h30m`. Sizes have the units `k`, `M`,
`G`, `T` (powers of 1000) or `Ki`, `Mi`, `Gi`, `Ti` (of 1024): `16Gi`, `1.5G`.

Fields marked *later* are known and checked, and refused unless `--allow-unsupported` is given; then they have no effect.

An overlay is laid over the file before it is checked: maps are merged key by key, everything else is replaced,
`null` removes a key.
";

fn section(block: Block) -> String {
    let mut text = format!(
        "\n## `{}`\n\n{}\n\n| field | value | default | meaning |\n| --- | --- | --- | --- |\n",
        block.name(),
        block.doc()
    );
    for field in block.fields() {
        text.push_str(&row(field));
    }
    if let Some(free) = block.free() {
        text.push_str(&format!("| *any other name* | {} | | {} |\n", cell(&expected(&free.shape)), cell(free.doc)));
    }
    text
}

fn row(field: &Field) -> String {
    let default = if field.required { "*required*" } else { field.default };
    let later = if field.support == Support::Later { "*Later.* " } else { "" };
    format!(
        "| `{}` | {} | {} | {later}{} |\n",
        field.name,
        cell(&expected(&field.shape)),
        cell(default),
        cell(field.doc)
    )
}

/// A text inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn limits() -> String {
    let Options { limits, max_steps, max_cells, .. } = Options::default();
    format!(
        "\n## Limits\n\n| what | most |\n| --- | --- |\n\
         | size of a file | {} MiB |\n\
         | nesting | {} levels |\n\
         | values, aliases expanded | {} |\n\
         | text repeated by aliases | {} MiB |\n\
         | steps | {max_steps} |\n\
         | cells of all matrices | {max_cells} |\n\
         | messages shown | {DIAGNOSTICS} |\n",
        limits.file_bytes >> 20,
        limits.depth,
        limits.nodes,
        limits.alias_bytes >> 20,
    )
}
