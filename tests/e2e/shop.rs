//! A small shop whose lineage other tests ask about: data comes in, is cleaned, trains a few models, and is reported on; a
//! second pipeline reads what a tag of the first leads to.

use std::path::PathBuf;

use crate::project::Project;

const SHOP: &str = "
pipeline: shop
params: {min: 2, seed: 7}
steps:
  raw: {kind: ingest, from: ./raw.csv}
  pages: {kind: ingest, from: './pages/*.txt', out: {pages: {dir: true}}}
  clean: {in: {rows: raw}, params: [min], run: 'sh ./clean.sh', code: ./clean.sh}
  words: {foreach: {item: pages}, in: {page: item}, params: [], run: 'wc -w < $IN_PAGE > $OUT_WORDS'}
  model: {in: {rows: clean, words: words}, params: [seed], matrix: {lr: [0.1, 0.5]}, run: 'sh ./train.sh', code: ./train.sh}
  report: {in: {models: model}, params: [], run: 'grep -c key $IN_MODELS > $OUT_REPORT', out: {report: {path: report.md}}}
";

const BOARD: &str = "
pipeline: board
steps:
  view: {in: {rows: shop/clean@approved}, run: 'wc -l < $IN_ROWS > $OUT_VIEW'}
";

const TRAIN: &str = r#"echo "{\"f1\": $MATRIX_LR, \"rows\": $(wc -l < "$IN_ROWS")}" > "$METRICS"
{ echo "$MATRIX_LR $PARAM_SEED"; cat "$IN_ROWS"; } > "$OUT_MODEL"
"#;

/// Run #1 of the shop, the tag `approved` on what it cleaned, and run #2 of the board.
pub(crate) fn shop() -> Project {
    let project = Project::empty().with("USER", "ada");
    project.write("shop.yaml", SHOP);
    project.write("board.yaml", BOARD);
    project.write("raw.csv", "a 1\nb 2\nc 3\n");
    project.write("pages/a.txt", "one two\n");
    project.write("pages/b.txt", "three\n");
    project.write("clean.sh", "awk -v m=\"$PARAM_MIN\" '$2 >= m' \"$IN_ROWS\" > \"$OUT_CLEAN\"\n");
    project.write("train.sh", TRAIN);
    project.run(&["shop.yaml"]);
    project.runstone(&["tag", "set", "approved", "shop/clean", "--note", "first"]).ok();
    project.run(&["board.yaml"]);
    project
}

/// The same, after a row came in: run #3 of the shop.
pub(crate) fn grown() -> Project {
    let project = shop();
    project.write("raw.csv", "a 1\nb 2\nc 3\nd 4\n");
    project.run(&["shop.yaml"]);
    project
}

/// The key by which a project signs, as others know it.
pub(crate) fn key_of(project: &Project) -> String {
    let facts = project.json(&["doctor"])["facts"].clone();
    let key = facts.as_array().unwrap().iter().find(|fact| fact["name"] == "signing key").unwrap();
    key["value"].as_str().unwrap().to_owned()
}

/// Where the record is.
pub(crate) fn database(project: &Project) -> PathBuf {
    project.path(".runstone/runstone.db")
}
