//! The JSON Schema of the language (draft 2020-12), for editors. Made from the table of fields.

use serde_json::{Map, Value, json};

use super::fields::{Block, Field, Shape, Support};

const NAME: &str = "^[a-z][a-z0-9_-]{0,63}$";
const DURATION: &str = "^([0-9]+(ms|s|m|h|d|w))+$";
const SIZE: &str = "^[0-9]+(\\.[0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)$";

/// The schema. It accepts every valid file; what depends on other parts of the file is left to validation.
#[must_use]
pub fn schema() -> Value {
    let blocks: Map<_, _> =
        Block::ALL.into_iter().map(|block| (block.name().to_owned(), block_schema(block))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Runstone pipeline",
        "$ref": "#/$defs/pipeline",
        "$defs": blocks,
    })
}

fn block_schema(block: Block) -> Value {
    let properties: Map<_, _> =
        block.fields().iter().map(|field| (field.name.to_owned(), field_schema(field))).collect();
    let required: Vec<_> = block.fields().iter().filter(|field| field.required).map(|field| field.name).collect();
    let others = block.free().map_or(Value::Bool(false), |free| described(shape_schema(&free.shape), free.doc));
    let mut schema = json!({
        "type": "object",
        "description": block.doc(),
        "properties": properties,
        "additionalProperties": others,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if block == Block::Pipeline {
        schema["patternProperties"] = json!({"^x-": true});
    }
    schema
}

fn field_schema(field: &Field) -> Value {
    let mut text = String::new();
    if field.support == Support::Later {
        text.push_str("Not supported yet. ");
    }
    text.push_str(field.doc);
    if !field.default.is_empty() {
        text.push_str(&format!(" Default: {}.", field.default));
    }
    described(shape_schema(&field.shape), &text)
}

fn described(mut schema: Value, text: &str) -> Value {
    if schema.is_object() {
        schema["description"] = Value::from(text);
    }
    schema
}

fn shape_schema(shape: &Shape) -> Value {
    let scalar = || json!(["string", "number", "boolean"]);
    match shape {
        Shape::Text | Shape::Literal | Shape::Expr => json!({"type": scalar()}),
        Shape::Name | Shape::Step => json!({"type": "string", "pattern": NAME}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Shape::Number => json!({"type": "number"}),
        Shape::Duration => json!({"type": "string", "pattern": DURATION}),
        Shape::DurationOrNone => json!({"type": "string", "pattern": format!("^none$|{DURATION}")}),
        Shape::Size => json!({"type": "string", "pattern": SIZE}),
        Shape::Cpu => {
            json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": "^[0-9]+m$"}]})
        }
        Shape::Reference | Shape::Source | Shape::Path | Shape::Cause => json!({"type": "string", "minLength": 1}),
        Shape::List(item) => json!({"type": "array", "items": shape_schema(item)}),
        Shape::Map(item) => json!({"type": "object", "additionalProperties": shape_schema(item)}),
        Shape::Block(block) => json!({"$ref": format!("#/$defs/{}", block.name())}),
        Shape::Either(shapes) => json!({"anyOf": shapes.iter().map(shape_schema).collect::<Vec<_>>()}),
        Shape::Any => json!({}),
    }
}
