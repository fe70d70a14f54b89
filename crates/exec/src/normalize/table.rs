//! CSV as rows of fields, whatever is quoted and however lines end (RFC 4180, leniently). Empty lines are no rows.

use std::io::{BufRead, BufReader, Read};

use csv_core::{ReadFieldResult, Reader};

use super::Pieces;

/// A line for each row, fields apart by tabs; tabs, line ends and backslashes of fields are written as escapes, so that
/// a row never takes two lines.
pub(super) fn rows(input: impl Read) -> impl Read {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut reader = Reader::new();
    let mut field = [0; 4096];
    Pieces::new(move |out| {
        // Nothing to read means the end to the reader, too.
        let bytes = input.fill_buf()?;
        let (result, read, written) = reader.read_field(bytes, &mut field);
        input.consume(read);
        escape(&field[..written], out);
        match result {
            ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            ReadFieldResult::Field { record_end } => out.push(if record_end { b'\n' } else { b'\t' }),
            ReadFieldResult::End => return Ok(false),
        }
        Ok(true)
    })
}

fn escape(field: &[u8], out: &mut Vec<u8>) {
    for byte in field {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte => out.push(*byte),
        }
    }
}
