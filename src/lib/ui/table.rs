//! Lists: as a table, as JSON, as lines with tabs.

use super::Format;
use serde_json::{Map, Value};

/// Rows under named columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table without rows.
    pub(crate) const fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Appends a row with a value for each column.
    pub(crate) fn row(&mut self, values: Vec<Value>) {
        self.rows.push(values);
    }

    /// The whole text, line ends included.
    pub(crate) fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Json => self.json(),
            Format::Tsv => self.rows.iter().map(|row| line(row)).collect(),
        }
    }

    fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(self.columns.iter().copied());
        for row in &self.rows {
            table.add_row(row.iter().map(shown));
        }
        format!("{table}\n")
    }

    fn json(&self) -> String {
        let names = || self.columns.iter().map(|name| name.replace(' ', "_"));
        let objects = self
            .rows
            .iter()
            .map(|row| Value::Object(names().zip(row.iter().cloned()).collect::<Map<_, _>>()));
        format!("{:#}\n", Value::Array(objects.collect()))
    }
}

fn line(row: &[Value]) -> String {
    let fields: Vec<String> = row.iter().map(shown).collect();
    fields.join("\t") + "\n"
}

/// A value as one field: no character of it moves a cursor, ends a line or begins another field.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.chars().map(visible).collect(),
        other => other.to_string(),
    }
}

fn visible(character: char) -> String {
    if character.is_control() || character == '\\' {
        character.escape_default().to_string()
    } else {
        character.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["user", "locked"]);
        table.row(vec!["ann".into(), true.into()]);
        table.row(vec!["b\tb\n\u{1b}".into(), Value::Null]);
        table
    }

    /// Design, section 7: table, JSON, TSV.
    #[test]
    fn a_list_has_three_forms() {
        assert_eq!(table().render(Format::Tsv), "ann\tyes\nb\\tb\\n\\u{1b}\t-\n");
        let json: Value = serde_json::from_str(&table().render(Format::Json)).unwrap();
        assert_eq!(json[0]["user"], "ann");
        assert_eq!(json[0]["locked"], true);
        assert_eq!(json[1]["user"], "b\tb\n\u{1b}");
        let shown = table().render(Format::Table);
        assert!(shown.contains(" user ") && shown.contains(" ann ") && !shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn an_empty_list_is_empty() {
        let table = Table::new(&["user"]);
        assert_eq!((table.render(Format::Tsv).as_str(), table.render(Format::Json).as_str()), ("", "[]\n"));
    }
}
