//! Rows as JSON lines. What is not known is left out.

use std::io::{self, BufWriter, Write};

use super::{COLUMNS, Form, Value};

pub(super) struct Json(BufWriter<Box<dyn Write + Send>>);

impl Json {
    pub(super) fn new(to: impl Write + Send + 'static) -> Self {
        Self(BufWriter::with_capacity(256 << 10, Box::new(to)))
    }
}

impl Form for Json {
    fn row(&mut self, row: &[Value<'_>; COLUMNS.len()]) -> io::Result<()> {
        let mut before = b'{';
        for ((name, _), value) in COLUMNS.iter().zip(row) {
            if matches!(value, Value::Text(None) | Value::Number(None) | Value::Flag(None)) {
                continue;
            }
            self.0.write_all(&[before])?;
            before = b',';
            write!(self.0, "\"{name}\":")?;
            match value {
                Value::Text(text) => serde_json::to_writer(&mut self.0, text)?,
                Value::Number(number) => serde_json::to_writer(&mut self.0, number)?,
                Value::Flag(flag) => serde_json::to_writer(&mut self.0, flag)?,
            }
        }
        self.0.write_all(b"}\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
