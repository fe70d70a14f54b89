//! The one table of fields. The decoder's check of keys and types, the JSON Schema and the reference page all come
//! from it, so that none of them can know a field the others do not.

mod later;
mod now;
mod starts;

#[cfg(test)]
pub(crate) use now::NORMALIZERS;

/// What a value must look like before its meaning is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// Any scalar, taken as it is written.
    Text,
    /// A scalar that follows the grammar of names.
    Name,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number in this range.
    Int(i64, i64),
    /// A number.
    Number,
    /// Such as `1h30m`.
    Duration,
    /// `none`, or a duration.
    DurationOrNone,
    /// Such as `16Gi`.
    Size,
    /// Cores, such as `2`, `0.5` or `500m`.
    Cpu,
    /// A scalar with the type it is written with.
    Literal,
    /// The name of a step.
    Step,
    /// What an input reads: a step, an output, another pipeline's dataset or a path.
    Reference,
    /// A path or URL that is ingested.
    Source,
    /// A path of the project.
    Path,
    /// An expression.
    Expr,
    /// A cause of failure.
    Cause,
    /// A list of values of this shape.
    List(&'static Shape),
    /// A map with free names and values of this shape.
    Map(&'static Shape),
    /// A map with the fields of a block.
    Block(Block),
    /// One of several, at most one of them for each form (scalar, list, map).
    Either(&'static [Shape]),
    /// Anything; a later release will say more.
    Any,
}

/// A place of the language with fields of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    Pipeline,
    Param,
    Defaults,
    Step,
    Input,
    Output,
    Matrix,
    Foreach,
    Secret,
    Python,
    Ttl,
    Retry,
    Resources,
    Hooks,
    Hook,
    Schedule,
    Dst,
    Catchup,
    Partition,
    Trigger,
    Agreement,
    Approve,
    Strategy,
    Drift,
}

/// Whether this version can do what a field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// Yes.
    Now,
    /// Not yet: known, its shape checked, refused unless allowed.
    Later,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// What holds where it is left out, for people; empty where nothing does.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) required: bool,
    pub(crate) support: Support,
}

impl Field {
    const fn new(name: &'static str, shape: Shape, default: &'static str, doc: &'static str) -> Self {
        Self { name, shape, default, doc, required: false, support: Support::Now }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn later(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { support: Support::Later, ..Self::new(name, shape, "", doc) }
    }
}

/// Keys of a block that are not in its table, because the user names them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Free {
    pub(crate) shape: Shape,
    pub(crate) doc: &'static str,
}

impl Block {
    /// In the order of the reference page.
    pub(crate) const ALL: [Self; 24] = [
        Self::Pipeline,
        Self::Param,
        Self::Defaults,
        Self::Step,
        Self::Input,
        Self::Output,
        Self::Matrix,
        Self::Foreach,
        Self::Secret,
        Self::Python,
        Self::Ttl,
        Self::Retry,
        Self::Resources,
        Self::Hooks,
        Self::Hook,
        Self::Schedule,
        Self::Dst,
        Self::Catchup,
        Self::Partition,
        Self::Trigger,
        Self::Agreement,
        Self::Approve,
        Self::Strategy,
        Self::Drift,
    ];

    pub(crate) fn fields(self) -> &'static [Field] {
        match self {
            Self::Pipeline => now::PIPELINE,
            Self::Param => now::PARAM,
            Self::Defaults => now::DEFAULTS,
            Self::Step => now::STEP,
            Self::Input => now::INPUT,
            Self::Output => now::OUTPUT,
            Self::Matrix => now::MATRIX,
            Self::Foreach => now::FOREACH,
            Self::Secret => now::SECRET,
            Self::Python => now::PYTHON,
            Self::Ttl => now::TTL,
            Self::Retry => now::RETRY,
            Self::Resources => now::RESOURCES,
            Self::Hooks => now::HOOKS,
            Self::Hook => now::HOOK,
            Self::Schedule => starts::SCHEDULE,
            Self::Dst => starts::DST,
            Self::Catchup => starts::CATCHUP,
            Self::Partition => starts::PARTITION,
            Self::Trigger => starts::TRIGGER,
            Self::Agreement => later::AGREEMENT,
            Self::Approve => later::APPROVE,
            Self::Strategy => later::STRATEGY,
            Self::Drift => later::DRIFT,
        }
    }

    pub(crate) fn field(self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    pub(crate) fn free(self) -> Option<Free> {
        match self {
            Self::Matrix => Some(Free {
                shape: Shape::List(&Shape::Literal),
                doc: "An axis: its name and its values. The step runs once for every combination, with `MATRIX_<NAME>` set.",
            }),
            Self::Foreach => Some(Free {
                shape: Shape::Reference,
                doc: "The name of the item, and the step or `step.output` whose entries it stands for.",
            }),
            _ => None,
        }
    }

    /// The name in the schema.
    pub(crate) fn name(self) -> &'static str {
        self.heading().0
    }

    /// What the block is for.
    pub(crate) fn doc(self) -> &'static str {
        self.heading().1
    }

    fn heading(self) -> (&'static str, &'static str) {
        match self {
            Self::Pipeline => {
                ("pipeline", "The whole file. Keys that start with `x-` are ignored, as places for anchors.")
            }
            Self::Param => {
                ("param", "A declared parameter. A plain value instead of the block gives type and default.")
            }
            Self::Defaults => (
                "defaults",
                "What steps have where they do not say otherwise. A step's own value replaces the default; only `env` is merged, name by name.",
            ),
            Self::Step => ("step", "One step."),
            Self::Input => ("input", "An input with more to say than what it reads."),
            Self::Output => ("output", "How an output is published."),
            Self::Matrix => ("matrix", "Static expansion of a step into cells."),
            Self::Foreach => ("foreach", "Expansion of a step over the entries of an upstream output."),
            Self::Secret => ("secret", "A value that reaches the step and nothing else."),
            Self::Python => ("python", "A Python environment, made and cached for the step."),
            Self::Ttl => ("ttl", "Reuse of results up to an age."),
            Self::Retry => ("retry", "What to try again, and when. A number instead of the block is its `max`."),
            Self::Resources => ("resources", "What a task takes of the machine while it runs."),
            Self::Hooks => ("hooks", "Commands that run when the run has ended."),
            Self::Hook => ("hook", "A command."),
            Self::Schedule => ("schedule", "When runs start by themselves: by `cron` or `every`, one of the two."),
            Self::Dst => (
                "dst",
                "Fixed times of a clock that is changed. Where the hour field of `cron` starts with `*`, times are not fixed: it fires whenever the clock shows a match.",
            ),
            Self::Catchup => ("catchup", "Fires that were missed, because no scheduler was there in time."),
            Self::Partition => ("partition", "What runs work on one at a time. A step sees the key as `PARTITION`."),
            Self::Trigger => ("trigger", "An event that starts a run: `dataset` or `file`, one of the two."),
            Self::Agreement => ("agreement", "How far labelers must agree."),
            Self::Approve => ("approve", "Who must agree before a step runs."),
            Self::Strategy => ("strategy", "How a deployment reaches its users."),
            Self::Drift => ("drift", "When data has moved away from a reference."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_names_each_field_once_and_explains_it() {
        for block in Block::ALL {
            for (at, field) in block.fields().iter().enumerate() {
                assert!(!block.fields()[..at].iter().any(|other| other.name == field.name), "{block:?}.{}", field.name);
                assert!(field.doc.ends_with('.'), "{block:?}.{}", field.name);
            }
        }
    }

    #[test]
    fn defaults_are_fields_of_steps_with_the_same_shape() {
        for field in Block::Defaults.fields() {
            let of_step = Block::Step.field(field.name).expect(field.name);
            assert_eq!((of_step.shape, of_step.support), (field.shape, field.support), "{}", field.name);
        }
    }

    #[test]
    fn alternatives_differ_in_form() {
        fn form(shape: &Shape) -> &'static str {
            match shape {
                Shape::List(_) => "list",
                Shape::Map(_) | Shape::Block(_) => "map",
                Shape::Either(_) | Shape::Any => panic!("alternatives are flat"),
                _ => "scalar",
            }
        }
        let all = Block::ALL.iter().flat_map(|block| block.fields());
        for field in all {
            if let Shape::Either(shapes) = field.shape {
                let forms: std::collections::HashSet<_> = shapes.iter().map(form).collect();
                assert_eq!(forms.len(), shapes.len(), "{}", field.name);
            }
        }
    }
}
