//! Rows of what later versions do: known, so that nobody else takes the name, and checked for shape, so that a file
//! that is written today stays valid.

use super::Shape::{Any, Block as B, Bool, Duration, Either, Expr, Int, List, Literal, Map, Name, Number, Text, Word};
use super::{Block, Field, Shape};

const EXPRS: Shape = Either(&[Expr, List(&Expr)]);
const TEXTS: Shape = Either(&[Text, List(&Text)]);
const MANY: i64 = 1_000_000;

pub(super) const TRIGGER: Field = Field::later("trigger", Map(&Any), "Events that start a run.");
pub(super) const PROBLEM: Field =
    Field::later("problem", Map(&Any), "The problem that is solved: its type, features, target and goal.");
pub(super) const DOCUMENTS: Field = Field::later("documents", TEXTS, "Documents kept beside the pipeline.");
pub(super) const BASELINE: Field =
    Field::later("baseline", Either(&[Text, Map(&Any)]), "What evaluations are compared to.");
pub(super) const IMAGE: Field = Field::later("image", Text, "The container image a step runs in.");
pub(super) const GPU: Field = Field::later("gpu", Int(0, 1024), "Graphics processors.");
pub(super) const STORE: Field =
    Field::later("store", Word(&["copy", "reference"]), "Whether a large source is copied or only referred to.");
pub(super) const EXPECT: Field = Field::later("expect", EXPRS, "Conditions over the data of the outputs.");
pub(super) const MAX_GROWTH: Field = Field::later("max_growth", Number, "How many times larger a new version may be.");
pub(super) const BY: Field = Field::later("by", Map(&Any), "Who labels.");
pub(super) const VOTES: Field = Field::later("votes", Int(1, 1000), "How many labels each item gets.");
pub(super) const AGREEMENT_FIELD: Field =
    Field::later("agreement", B(Block::Agreement), "How far labelers must agree.");
pub(super) const METRICS: Field = Field::later("metrics", List(&Name), "The metrics that must be reported.");
pub(super) const SLICES: Field = Field::later("slices", List(&Text), "Columns by which metrics are split.");
pub(super) const PICK: Field = Field::later("pick", Text, "Which cell of a matrix is the best one.");
pub(super) const MODEL: Field = Field::later("model", Text, "What is deployed.");
pub(super) const TO: Field = Field::later("to", Text, "Where it is deployed to.");
pub(super) const APPROVE_FIELD: Field =
    Field::later("approve", B(Block::Approve), "Who must agree before the step runs.");
pub(super) const STRATEGY_FIELD: Field =
    Field::later("strategy", Either(&[Text, B(Block::Strategy)]), "How a deployment reaches its users.");
pub(super) const TARGET: Field = Field::later("target", Text, "What is monitored.");
pub(super) const WATCH: Field = Field::later("watch", EXPRS, "Conditions that a running deployment must meet.");
pub(super) const DRIFT_FIELD: Field =
    Field::later("drift", B(Block::Drift), "When data has moved away from a reference.");
pub(super) const THEN: Field = Field::later("then", Either(&[Text, Map(&Any)]), "What a monitor's result starts.");

pub(super) const AGREEMENT: &[Field] = &[
    Field::later("metric", Word(&["cohen_kappa", "fleiss_kappa", "krippendorff_alpha"]), "The measure."),
    Field::later("min", Number, "The smallest value that is enough."),
];

pub(super) const APPROVE: &[Field] = &[
    Field::later("by", TEXTS, "Roles or people."),
    Field::later("quorum", Int(1, MANY), "How many of them."),
    Field::later("within", Duration, "How long to wait."),
    Field::later("ask", List(&Text), "Questions to be answered."),
];

pub(super) const STRATEGY: &[Field] = &[
    Field::later("canary", List(&Literal), "Shares of the traffic, one after the other."),
    Field::later("shadow", Bool, "Whether answers are compared and discarded."),
    Field::later("blue_green", Map(&Any), "An atomic swap with a way back."),
    Field::later("watch", EXPRS, "Conditions for the next share."),
    Field::later("step", Duration, "The time at each share."),
];

pub(super) const DRIFT: &[Field] = &[
    Field::later("on", Text, "The dataset."),
    Field::later("against", Text, "The reference."),
    Field::later("metric", Word(&["psi", "ks", "js", "chi2"]), "The measure."),
    Field::later("max", Number, "The largest value that is fine."),
];
