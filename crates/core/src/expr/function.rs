//! The fixed set of functions: names, arguments, one line of help each. What they do is in `eval`.

use super::value::Type;

/// A function of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Ceil,
    Contains,
    Default,
    Defined,
    EndsWith,
    Floor,
    Len,
    Lower,
    Max,
    Min,
    Round,
    SliceMax,
    SliceMean,
    SliceMin,
    StartsWith,
    Upper,
}

/// How a function is called.
pub(super) struct Signature {
    pub(super) function: Function,
    pub(super) name: &'static str,
    /// Fewest and most arguments.
    pub(super) arity: (usize, usize),
    /// How it is written, for messages and for the reference.
    pub(super) usage: &'static str,
    /// What it gives; for `default` it is that of its arguments.
    pub(super) result: Type,
}

const fn signature(
    function: Function,
    name: &'static str,
    arity: (usize, usize),
    usage: &'static str,
    result: Type,
) -> Signature {
    Signature { function, name, arity, usage, result }
}

/// Every function, by name.
pub(super) const FUNCTIONS: [Signature; 17] = [
    signature(Function::Abs, "abs", (1, 1), "abs(number)", Type::Number),
    signature(Function::Ceil, "ceil", (1, 1), "ceil(number)", Type::Number),
    signature(Function::Contains, "contains", (2, 2), "contains(text or list, part)", Type::Bool),
    signature(Function::Default, "default", (2, 2), "default(name, value)", Type::Any),
    signature(Function::Defined, "defined", (1, 1), "defined(name)", Type::Bool),
    signature(Function::EndsWith, "ends_with", (2, 2), "ends_with(text, end)", Type::Bool),
    signature(Function::Floor, "floor", (1, 1), "floor(number)", Type::Number),
    signature(Function::Len, "len", (1, 1), "len(text or list)", Type::Number),
    signature(Function::Lower, "lower", (1, 1), "lower(text)", Type::Text),
    signature(Function::Max, "max", (1, usize::MAX), "max(number, …)", Type::Number),
    signature(Function::Min, "min", (1, usize::MAX), "min(number, …)", Type::Number),
    signature(Function::Round, "round", (1, 2), "round(number, digits)", Type::Number),
    signature(Function::SliceMax, "slice_max", (1, 2), "slice_max(metric, rows)", Type::Number),
    signature(Function::SliceMean, "slice_mean", (1, 2), "slice_mean(metric, rows)", Type::Number),
    signature(Function::SliceMin, "slice_min", (1, 2), "slice_min(metric, rows)", Type::Number),
    signature(Function::StartsWith, "starts_with", (2, 2), "starts_with(text, start)", Type::Bool),
    signature(Function::Upper, "upper", (1, 1), "upper(text)", Type::Text),
];

impl Function {
    /// The entry of [`FUNCTIONS`], which stands in the order of the variants.
    pub(super) fn signature(self) -> &'static Signature {
        &FUNCTIONS[self as usize]
    }

    /// Whether its first argument is a name that is looked at, not a value that is computed.
    pub(super) fn takes_name(self) -> bool {
        matches!(self, Self::Default | Self::Defined) || self.is_slice()
    }

    /// Whether it sums up a metric over the slices of an evaluation.
    pub(super) fn is_slice(self) -> bool {
        matches!(self, Self::SliceMax | Self::SliceMean | Self::SliceMin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_names_and_of_variants() {
        assert!(FUNCTIONS.is_sorted_by_key(|entry| entry.name));
        for entry in &FUNCTIONS {
            assert_eq!(entry.function.signature().name, entry.name);
            assert!(entry.usage.starts_with(&format!("{}(", entry.name)));
        }
    }
}
