//! Lists: as a table, as JSON, as lines with tabs.

use super::{Format, human};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width, presets,
};
use serde_json::{Map, Value};

/// What stands in a column, and so how a table shows it. JSON and TSV have it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Words.
    Text,
    /// A sentence, which a narrow table breaks.
    Sentence,
    /// A number.
    Number,
    /// A number of octets: `4.2M` in a table.
    Octets,
    /// A number of seconds: `12min` in a table.
    Span,
    /// A moment (RFC 3339): `2026-11-03 07:55` in a table.
    Time,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its title; in JSON with `_` for blanks.
    pub(crate) name: &'static str,
    /// What stands in it.
    pub(crate) kind: Kind,
    /// A table that is too wide loses the columns with the highest number first; those with 0 stay.
    pub(crate) spare: u8,
}

impl Column {
    /// A column that stays.
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, spare: 0 }
    }

    /// A column that a narrow table does without.
    pub(crate) const fn spare(name: &'static str, kind: Kind, spare: u8) -> Self {
        Self { name, kind, spare }
    }

    fn key(&self) -> String {
        self.name.replace(' ', "_")
    }
}

/// The width that a sentence is broken to at least.
const LEAST_SENTENCE: u16 = 24;

/// A line below the header, none between rows.
const CONDENSED: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// Rows under named columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    /// Which columns are shown, in this order; none: all.
    chosen: Option<Vec<usize>>,
    rows: Vec<Vec<Value>>,
    total: Option<Vec<Value>>,
    style: TableStyle,
}

impl Table {
    /// A table without rows whose columns have words, with lines between the rows.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        let columns = columns.iter().map(|name| Column::new(name, Kind::Text)).collect();
        Self { columns, chosen: None, rows: Vec::new(), total: None, style: presets::UTF8_HORIZONTAL_ONLY }
    }

    /// A table without rows.
    pub(crate) fn of(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), chosen: None, rows: Vec::new(), total: None, style: CONDENSED }
    }

    /// Shows these columns alone, in this order; an empty list shows all. Blanks in names may be `_`.
    ///
    /// # Errors
    /// There is no such column; the sentence names those that there are.
    pub(crate) fn choose(&mut self, names: &[String]) -> Result<(), String> {
        let at = |name: &String| {
            let wanted = name.trim().replace(' ', "_");
            self.columns.iter().position(|column| column.key() == wanted).ok_or_else(|| {
                let known: Vec<String> = self.columns.iter().map(Column::key).collect();
                format!("there is no column \"{name}\", but {}", known.join(", "))
            })
        };
        let chosen: Vec<usize> = names.iter().map(at).collect::<Result<_, _>>()?;
        self.chosen = (!chosen.is_empty()).then_some(chosen);
        Ok(())
    }

    /// Appends a row with a value for each column.
    pub(crate) fn row(&mut self, values: Vec<Value>) {
        self.rows.push(values);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The last line of a table, below all rows; the other formats do without.
    pub(crate) fn total(&mut self, values: Vec<Value>) {
        self.total = Some(values);
    }

    /// The whole text, line ends included, for the terminal's width or whatever is there instead.
    pub(crate) fn render(&self, format: Format) -> String {
        self.render_within(format, super::width())
    }

    /// The same for a width in characters; none: as wide as it comes.
    pub(crate) fn render_within(&self, format: Format, width: Option<u16>) -> String {
        let shown: Vec<usize> = self.chosen.clone().unwrap_or_else(|| (0..self.columns.len()).collect());
        match format {
            Format::Table => self.table(shown, width),
            Format::Json => self.json(&shown),
            Format::Tsv => self.rows.iter().map(|row| line(row, &shown)).collect(),
        }
    }

    fn table(&self, mut shown: Vec<usize>, width: Option<u16>) -> String {
        let mut table = self.laid_out(&shown);
        if self.style != CONDENSED {
            return format!("{table}\n");
        }
        // Without a terminal it is as wide as it comes.
        let width = width.unwrap_or(u16::MAX);
        while self.wide(&table, &shown) > u32::from(width) && self.chosen.is_none() {
            let spare = shown.iter().enumerate().max_by_key(|(_, at)| self.columns[**at].spare);
            match spare {
                Some((place, at)) if self.columns[*at].spare > 0 => drop(shown.remove(place)),
                _ => break,
            }
            table = self.laid_out(&shown);
        }
        if wide(&table) > u32::from(width) {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        // Sentences are broken first; words alone only where nothing else helps, and numbers and times never.
        let whole_words = self.wide(&table, &shown) <= u32::from(width);
        let contents = table.column_max_content_widths();
        for ((column, at), content) in table.column_iter_mut().zip(&shown).zip(contents) {
            let kind = self.columns[*at].kind;
            if kind != Kind::Sentence && (kind != Kind::Text || whole_words) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else if *at == 0 {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(content.min(12))));
            }
        }
        let text = table.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
        if self.total.is_some() { underlined(&text) } else { text }
    }

    fn laid_out(&self, shown: &[usize]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(self.style).set_header(shown.iter().map(|at| self.columns[*at].name));
        for row in self.rows.iter().chain(&self.total) {
            table.add_row(shown.iter().map(|at| displayed(&row[*at], self.columns[*at].kind)));
        }
        for (column, at) in table.column_iter_mut().zip(shown) {
            if matches!(self.columns[*at].kind, Kind::Number | Kind::Octets | Kind::Span) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// How wide it has to be: a sentence may be broken.
    fn wide(&self, table: &comfy_table::Table, shown: &[usize]) -> u32 {
        let widths = table.column_max_content_widths();
        let saved = widths.iter().zip(shown).filter(|(_, at)| self.columns[**at].kind == Kind::Sentence);
        wide(table) - saved.map(|(width, _)| u32::from(width.saturating_sub(LEAST_SENTENCE))).sum::<u32>()
    }

    fn json(&self, shown: &[usize]) -> String {
        let object = |row: &Vec<Value>| {
            let pairs = shown.iter().map(|at| (self.columns[*at].key(), row[*at].clone()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        format!("{:#}\n", Value::Array(self.rows.iter().map(object).collect()))
    }
}

/// How wide a table is that nothing holds back: a blank on both sides of each column, and one between two.
fn wide(table: &comfy_table::Table) -> u32 {
    let widths = table.column_max_content_widths();
    let columns = u32::try_from(widths.len()).unwrap_or(u32::MAX);
    (widths.iter().map(|width| u32::from(*width)).sum::<u32>() + 3 * columns).saturating_sub(1)
}

/// The text with the line of its header once more, above its last line.
fn underlined(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    match (lines.get(1), lines.split_last()) {
        (Some(line), Some((last, others))) => format!("{}\n{line}\n{last}\n", others.join("\n")),
        _ => text.to_owned(),
    }
}

fn line(row: &[Value], shown: &[usize]) -> String {
    let fields: Vec<String> = shown.iter().map(|at| harmless(&row[*at])).collect();
    fields.join("\t") + "\n"
}

/// A value as a table shows it.
fn displayed(value: &Value, kind: Kind) -> String {
    match (kind, value) {
        (Kind::Octets, Value::Number(number)) => {
            number.as_u64().map_or_else(|| number.to_string(), human::octets)
        }
        (Kind::Span, Value::Number(number)) => {
            number.as_u64().map_or_else(|| number.to_string(), human::span)
        }
        // Date and time without seconds and offset: `2026-11-03T07:55:01+01:00`.
        (Kind::Time, Value::String(text)) if text.is_char_boundary(16) && text.len() > 16 => {
            harmless(&text[..16].replacen('T', " ", 1).into())
        }
        _ => harmless(value),
    }
}

/// A value as one field: no character of it moves a cursor, ends a line or begins another field.
fn harmless(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => visible(text),
        other => other.to_string(),
    }
}

/// A text whose characters all stay where they are: those that control a terminal, or the order in which others are shown, or
/// that nobody sees, are written as escapes.
pub(crate) fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || character == '\\' || is_invisible(character) {
            seen.extend(character.escape_default());
        } else {
            seen.push(character);
        }
    }
    seen
}

/// A text of several lines whose characters all stay where they are; line ends, tabs and `\\` stay too.
pub(crate) fn readable(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for character in text.chars() {
        let moves = character.is_control() && !matches!(character, '\n' | '\t');
        if moves || is_invisible(character) {
            seen.extend(character.escape_default());
        } else {
            seen.push(character);
        }
    }
    seen
}

/// Marks of direction and width (Unicode, Bidi_Control and its like), separators of lines, tags.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
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

    fn sizes() -> Table {
        let mut table = Table::of(&[
            Column::new("user", Kind::Text),
            Column::spare("last login", Kind::Time, 1),
            Column::new("octets", Kind::Octets),
            Column::new("problems", Kind::Sentence),
        ]);
        table.row(vec![
            "ann".into(),
            "2026-11-03T07:55:01+01:00".into(),
            4_404_019.into(),
            "the mailbox is a symbolic link".into(),
        ]);
        table.total(vec!["total".into(), Value::Null, 4_404_019.into(), "".into()]);
        table
    }

    #[test]
    fn a_table_fits_its_width_and_others_are_exact() {
        let wide = sizes().render_within(Format::Table, Some(80));
        assert!(wide.contains("2026-11-03 07:55") && wide.contains("4.2M"), "{wide}");
        for width in [30, 60, 80] {
            let table = sizes().render_within(Format::Table, Some(width));
            assert!(
                table.lines().all(|line| line.chars().count() <= usize::from(width)),
                "{width}:\n{table}"
            );
            assert!(table.lines().last().unwrap().contains("total"), "{table}");
        }
        assert!(
            !sizes().render_within(Format::Table, Some(60)).contains("last login"),
            "the spare column goes"
        );
        let exact = sizes().render(Format::Tsv);
        assert_eq!(exact, "ann\t2026-11-03T07:55:01+01:00\t4404019\tthe mailbox is a symbolic link\n");
    }

    #[test]
    fn columns_are_chosen_by_name() {
        let mut table = sizes();
        table.choose(&["octets".to_owned(), "last_login".to_owned()]).unwrap();
        assert_eq!(table.render(Format::Tsv), "4404019\t2026-11-03T07:55:01+01:00\n");
        let error = table.choose(&["size".to_owned()]).unwrap_err();
        assert_eq!(error, "there is no column \"size\", but user, last_login, octets, problems");
    }

    /// CVE-2021-42574 and its like: what is shown is what is there.
    #[test]
    fn no_character_hides_or_moves_others() {
        assert_eq!(
            visible("a\u{202e}b\u{200b}c\u{9b}2Jd\u{1b}[2J\\ü漢"),
            r"a\u{202e}b\u{200b}c\u{9b}2Jd\u{1b}[2J\\ü漢"
        );
    }
}
