//! Rows as Parquet, in groups of rows that fit in memory.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type as Schema;

use super::{COLUMNS, Form, Type, Value};

/// So many rows are held: some 20 MB.
const GROUP: usize = 1 << 16;

pub(super) struct Parquet<W: Write + Send> {
    /// `None` once it is closed.
    file: Option<SerializedFileWriter<W>>,
    columns: Vec<Column>,
    held: usize,
}

/// The values of a column in this group, and of each row whether there is one.
enum Column {
    Text(Vec<ByteArray>, Vec<i16>),
    Number(Vec<i64>, Vec<i16>),
    Flag(Vec<bool>, Vec<i16>),
}

impl<W: Write + Send> Parquet<W> {
    pub(super) fn new(to: W) -> io::Result<Self> {
        let field = |(name, kind): &(&str, Type)| {
            let (physical, logical) = match kind {
                Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                Type::Number => (Physical::INT64, None),
                Type::Flag => (Physical::BOOLEAN, None),
            };
            Schema::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical)
                .build()
                .map(Arc::new)
        };
        let fields = COLUMNS.iter().map(field).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let schema = Schema::group_type_builder("row").with_fields(fields).build().map_err(failed)?;
        let file = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(WriterProperties::builder().build()))
            .map_err(failed)?;
        Ok(Self { file: Some(file), columns: columns(), held: 0 })
    }

    fn write_group(&mut self) -> io::Result<()> {
        let columns = std::mem::replace(&mut self.columns, columns());
        if std::mem::take(&mut self.held) == 0 {
            return Ok(());
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut group = file.next_row_group().map_err(failed)?;
        for column in columns {
            match column {
                Column::Text(values, there) => write::<ByteArrayType, W>(&mut group, &values, &there),
                Column::Number(values, there) => write::<Int64Type, W>(&mut group, &values, &there),
                Column::Flag(values, there) => write::<BoolType, W>(&mut group, &values, &there),
            }
            .map_err(failed)?;
        }
        group.close().map_err(failed)?;
        Ok(())
    }
}

impl<W: Write + Send> Form for Parquet<W> {
    fn row(&mut self, row: &[Value<'_>; COLUMNS.len()]) -> io::Result<()> {
        for (column, value) in self.columns.iter_mut().zip(row) {
            match (column, value) {
                (Column::Text(values, there), Value::Text(text)) => {
                    values.extend(text.as_deref().map(ByteArray::from));
                    there.push(text.is_some().into());
                }
                (Column::Number(values, there), Value::Number(number)) => {
                    values.extend(*number);
                    there.push(number.is_some().into());
                }
                (Column::Flag(values, there), Value::Flag(flag)) => {
                    values.extend(*flag);
                    there.push(flag.is_some().into());
                }
                _ => return Err(io::Error::other("a value is not of its column's type")),
            }
        }
        self.held += 1;
        if self.held >= GROUP { self.write_group() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write_group()?;
        let Some(file) = self.file.take() else { return Ok(()) };
        file.into_inner().map_err(failed)?.flush()
    }
}

fn columns() -> Vec<Column> {
    let column = |(_, kind): &(&str, Type)| match kind {
        Type::Text => Column::Text(Vec::new(), Vec::new()),
        Type::Number => Column::Number(Vec::new(), Vec::new()),
        Type::Flag => Column::Flag(Vec::new(), Vec::new()),
    };
    COLUMNS.iter().map(column).collect()
}

fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    there: &[i16],
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column too many".into()));
    };
    column.typed::<T>().write_batch(values, Some(there), None)?;
    column.close()
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use smtp_proto::tls::{Direction, Record};

    use super::super::Rows;
    use super::*;

    #[test]
    fn every_row_is_there_and_keeps_its_types() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut rows = Rows::parquet(file.reopen().expect("opened"), b"key").expect("begun");
        let count = GROUP + 3;
        for _ in 0..count {
            let mut record = Record::new(1_795_510_800, Direction::Inbound);
            record.sender = Some("a.example");
            rows.add(&record, None, true);
        }
        rows.finish().expect("written");
        let reader = SerializedFileReader::new(file.reopen().expect("opened")).expect("Parquet");
        assert_eq!((reader.num_row_groups(), reader.metadata().file_metadata().num_rows()), (2, count as i64));
        let last = reader.get_row_iter(None).expect("rows").last().expect("a row").expect("read");
        let columns: Vec<(String, String)> =
            last.get_column_iter().map(|(name, field)| (name.clone(), field.to_string())).collect();
        assert_eq!(columns.len(), COLUMNS.len());
        for (name, value) in
            [("number", &*count.to_string()), ("sender", "\"a.example\""), ("is_final", "true"), ("version", "null")]
        {
            assert!(columns.contains(&(name.into(), value.into())), "{name}: {columns:?}");
        }
    }
}
