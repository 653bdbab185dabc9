//! Rows of cells: an aligned table with relative times on a terminal, TSV with full values on a pipe.

use crate::cli::terminal::Terminal;
use crate::cli::{Failure, when};
use comfy_table::{Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};
use jiff::Timestamp;
use serde_json::Value;

/// No table fits into less.
const NARROWEST: u16 = 20;

/// A value, before it is known who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    Count(u64),
    Millis(Option<u64>),
    /// A decimal string of dollars; `None` where the price is not known, which is not the same as free.
    Usd(Option<String>),
    /// Dollars for one token; a person reads the price of a million.
    TokenRate(String),
    /// RFC 3339, and what to say to a person where there is none.
    Time(Option<String>, &'static str),
    /// A word that says whether something works.
    Status(String),
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    pub fn maybe(text: &Option<String>) -> Cell {
        Cell::Text(text.clone().unwrap_or_default())
    }

    pub fn list(items: &[String]) -> Cell {
        Cell::Text(items.join(" "))
    }

    /// A field of an object whose fields are the server's to name.
    pub fn json(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::text(""),
            Value::String(text) => Cell::text(text),
            Value::Number(n) => n.as_u64().map_or_else(|| Cell::text(n.to_string()), Cell::Count),
            other => Cell::text(other.to_string()),
        }
    }

    /// As a program reads it: nothing rounded, nothing cut, no tab or line break inside.
    fn for_programs(&self) -> String {
        match self {
            Cell::Text(text) | Cell::Status(text) => plain(text),
            Cell::Count(n) => n.to_string(),
            Cell::Millis(ms) => ms.map(|ms| ms.to_string()).unwrap_or_default(),
            Cell::Usd(usd) => usd.clone().unwrap_or_default(),
            Cell::TokenRate(usd) => usd.clone(),
            Cell::Time(at, _) => at.clone().unwrap_or_default(),
        }
    }

    /// As a person reads it.
    pub fn for_people(&self, now: Timestamp) -> String {
        match self {
            Cell::Text(text) if text.is_empty() => "–".into(),
            Cell::Text(text) => plain(text),
            Cell::Count(n) => grouped(*n),
            Cell::Millis(ms) => ms.map_or_else(|| "–".into(), |ms| format!("{} ms", grouped(ms))),
            Cell::Usd(Some(usd)) => format!("${usd}"),
            Cell::Usd(None) => "unpriced".into(),
            Cell::TokenRate(usd) => format!("${}/M", times_a_million(usd)),
            Cell::Time(None, otherwise) => (*otherwise).into(),
            Cell::Time(Some(text), _) => {
                text.parse().map_or_else(|_| plain(text), |at: Timestamp| when::relative(at, now))
            }
            Cell::Status(word) => format!("{} {}", mark(word), plain(word)),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Cell::Count(_) | Cell::Millis(_) | Cell::Usd(_) | Cell::TokenRate(_))
    }
}

/// The mark carries the meaning too, for those who see no colour.
fn mark(word: &str) -> char {
    match colour(word) {
        Some(Color::Green) => '●',
        Some(Color::Yellow) => '▲',
        Some(Color::Red) => '✗',
        _ => '○',
    }
}

fn colour(word: &str) -> Option<Color> {
    match word {
        "active" | "live" | "ok" | "completed" | "healthy" | "sent" | "approved" => Some(Color::Green),
        "rotating" | "superseded" | "client_gone" | "unresolved" | "waiting" => Some(Color::Yellow),
        "expired" | "revoked" | "dead" | "failing" | "refused" | "upstream_error" | "upstream_failed" | "broken"
        | "cut" | "failed" => Some(Color::Red),
        _ => None,
    }
}

/// Names and errors are other people's text: no control character of theirs reaches a terminal or breaks a row.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Moves the point of a decimal six places: exact, where a float would not be.
fn times_a_million(decimal: &str) -> String {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = format!("{whole}{fraction:0<6}");
    let point = whole.len() + 6;
    let whole = digits[..point].trim_start_matches('0');
    let fraction = digits[point..].trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A column: its name in TSV, its title in a table, and how to fill it.
pub struct Column<T> {
    /// Empty where only people see it.
    name: &'static str,
    title: Option<&'static str>,
    cell: fn(&T) -> Cell,
    whole: bool,
}

impl<T> Column<T> {
    pub const fn new(name: &'static str, title: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self { name, title: Some(title), cell, whole: false }
    }

    /// A column that only programs see; a terminal has no room for it.
    pub const fn for_programs(name: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self { name, title: None, cell, whole: false }
    }

    /// A column that only people see, as a short form of one for programs.
    pub const fn for_people(title: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self { name: "", title: Some(title), cell, whole: false }
    }

    /// A column that is never cut to the width: it is copied into the next command.
    pub const fn whole(name: &'static str, title: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self { name, title: Some(title), cell, whole: true }
    }
}

/// Prints rows in the manner of whoever reads them.
pub fn print<T>(
    terminal: &mut Terminal,
    header: bool,
    now: Timestamp,
    columns: &[Column<T>],
    rows: &[T],
) -> Result<(), Failure> {
    if !terminal.out_is_tty {
        return print_tsv(terminal, header, columns, rows);
    }
    let shown: Vec<&Column<T>> = columns.iter().filter(|c| c.title.is_some()).collect();
    let mut table = bare_table(terminal);
    table.set_header(shown.iter().map(|c| styled(c.title.unwrap_or_default(), terminal, Attribute::Bold)));
    for row in rows {
        let cells = shown.iter().map(|c| person_cell(&(c.cell)(row), terminal.colour, now));
        let mut line = Row::from(cells.collect::<Vec<_>>());
        line.max_height(1);
        table.add_row(line);
    }
    for (column, shown) in table.column_iter_mut().zip(&shown) {
        if shown.whole {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    write_table(terminal, table)
}

fn print_tsv<T>(terminal: &mut Terminal, header: bool, columns: &[Column<T>], rows: &[T]) -> Result<(), Failure> {
    let columns: Vec<&Column<T>> = columns.iter().filter(|c| !c.name.is_empty()).collect();
    if header {
        let names: Vec<&str> = columns.iter().map(|c| c.name).collect();
        terminal.line(&names.join("\t"))?;
    }
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|c| (c.cell)(row).for_programs()).collect();
        terminal.line(&cells.join("\t"))?;
    }
    Ok(())
}

/// Prints one thing as names and values. Names are the API's; a terminal shows them with spaces.
pub fn print_details(terminal: &mut Terminal, now: Timestamp, rows: &[(impl AsRef<str>, Cell)]) -> Result<(), Failure> {
    if !terminal.out_is_tty {
        for (name, cell) in rows {
            terminal.line(&format!("{}\t{}", plain(name.as_ref()), cell.for_programs()))?;
        }
        return Ok(());
    }
    let mut table = bare_table(terminal);
    for (name, cell) in rows {
        let label = styled(&plain(name.as_ref()).replace('_', " "), terminal, Attribute::Bold);
        table.add_row(vec![label, person_cell(cell, terminal.colour, now).set_alignment(CellAlignment::Left)]);
    }
    write_table(terminal, table)
}

fn bare_table(terminal: &Terminal) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_truncation_indicator("…");
    if let Some(width) = terminal.width {
        table.set_width(width);
    }
    // Some terminals say that they are no columns wide; then nothing is cut.
    if table.width().is_some_and(|width| width < NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    if terminal.colour {
        table.enforce_styling();
        table.style_text_only();
    }
    table
}

fn styled(text: &str, terminal: &Terminal, attribute: Attribute) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(text);
    if terminal.colour { cell.add_attribute(attribute) } else { cell }
}

fn person_cell(cell: &Cell, coloured: bool, now: Timestamp) -> comfy_table::Cell {
    let shown = comfy_table::Cell::new(cell.for_people(now));
    let shown = if cell.is_number() { shown.set_alignment(CellAlignment::Right) } else { shown };
    match cell {
        Cell::Status(word) if coloured => match colour(word) {
            Some(colour) => shown.fg(colour),
            None => shown.add_attribute(Attribute::Dim),
        },
        _ => shown,
    }
}

fn write_table(terminal: &mut Terminal, mut table: Table) -> Result<(), Failure> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        terminal.line(line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_text_cannot_break_a_row_or_drive_a_terminal() {
        let cell = Cell::text("a\tb\nc\x1b[2J\u{9b}");
        assert_eq!(cell.for_programs(), "a\u{fffd}b\u{fffd}c\u{fffd}[2J\u{fffd}");
        assert_eq!(cell.for_people(Timestamp::UNIX_EPOCH), cell.for_programs());
    }

    #[test]
    fn rates_are_shown_by_the_million_exactly() {
        for (rate, million) in
            [("0.0000025", "2.5"), ("0.00000015", "0.15"), ("0", "0"), ("3", "3000000"), ("0.000000000001", "0.000001")]
        {
            assert_eq!(times_a_million(rate), million, "{rate}");
        }
    }

    #[test]
    fn people_and_programs_read_the_same_value_differently() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (cell, program, person) in [
            (Cell::Count(1_234_567), "1234567", "1,234,567"),
            (Cell::Count(12), "12", "12"),
            (Cell::Usd(None), "", "unpriced"),
            (Cell::Usd(Some("0".into())), "0", "$0"),
            (Cell::Time(None, "never"), "", "never"),
            (Cell::Time(Some("2026-11-21T09:00:00Z".into()), "never"), "2026-11-21T09:00:00Z", "1 h ago"),
            (Cell::Status("active".into()), "active", "● active"),
            (Cell::text(""), "", "–"),
        ] {
            assert_eq!(cell.for_programs(), program);
            assert_eq!(cell.for_people(now), person);
        }
    }
}
