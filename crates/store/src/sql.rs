//! The WHERE of lists and reports: conditions that are there or not, each value bound, none spliced into the text.

use crate::db::Value;
use sqlx::AssertSqlSafe;

/// A statement that grows condition by condition. Texts are this crate's own; values are always bound.
pub(crate) struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// `text` ends in a WHERE clause that something can be added to.
    pub fn new(text: &str) -> Self {
        Conditions::with(text, Vec::new())
    }

    /// The same for a text that holds the places of `values` already.
    pub fn with(text: &str, values: Vec<Value>) -> Self {
        Conditions { text: text.to_owned(), values }
    }

    /// Gives a value its place and returns the placeholder, which may be used several times.
    pub fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// `left` is a column and an operator.
    pub fn and(&mut self, left: &str, value: Value) {
        let placeholder = self.bind(value);
        self.and_text(&format!("{left}{placeholder}"));
    }

    pub fn and_in(&mut self, column: &str, values: impl Iterator<Item = Value>) {
        let text = self.one_of(column, values);
        self.and_text(&text);
    }

    /// Rows of a VALUES, which the text ends in.
    pub fn rows(&mut self, rows: impl Iterator<Item = Vec<Value>>) {
        for (at, row) in rows.enumerate() {
            let places: Vec<String> = row.into_iter().map(|value| self.bind(value)).collect();
            self.text.push_str(if at == 0 { "(" } else { ", (" });
            self.text.push_str(&places.join(", "));
            self.text.push(')');
        }
    }

    /// A condition to be put together with others.
    pub fn one_of(&mut self, column: &str, values: impl Iterator<Item = Value>) -> String {
        let places: Vec<String> = values.map(|value| self.bind(value)).collect();
        match places.as_slice() {
            // An empty list matches nothing, and `IN ()` is no SQL.
            [] => "FALSE".to_owned(),
            [one] => format!("{column} = {one}"),
            _ => format!("{column} IN ({})", places.join(", ")),
        }
    }

    /// At least one of these; of none, nothing.
    pub fn and_any(&mut self, conditions: &[String]) {
        self.and_text(&if conditions.is_empty() {
            "FALSE".to_owned()
        } else {
            format!("({})", conditions.join(" OR "))
        });
    }

    /// Closes a parenthesis that a text opened.
    pub fn close(&mut self) {
        self.text.push(')');
    }

    pub fn and_text(&mut self, text: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(text);
    }

    pub fn finish(mut self, tail: &str) -> (String, Vec<Value>) {
        self.text.push_str(tail);
        (self.text, self.values)
    }
}

/// In any case of letters, on both databases.
pub(crate) fn like_text(column: &str, placeholder: &str) -> String {
    format!("LOWER({column}) LIKE LOWER({placeholder}) ESCAPE '\\'")
}

/// A pattern that matches texts that hold `text`, whatever signs are in it.
pub(crate) fn contains_pattern(text: &str) -> String {
    format!("%{}", prefix_pattern(text))
}

/// A pattern that matches texts that begin with `text`.
pub(crate) fn prefix_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// For statements that this crate put together from its own texts and placeholders.
pub(crate) fn dynamic(sql: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_bind_in_order_and_an_empty_list_matches_nothing() {
        let mut sql = Conditions::new("SELECT a FROM t WHERE TRUE");
        sql.and("a = ", Value::from(1));
        sql.and_in("b", [2i64, 3].into_iter().map(Value::from));
        sql.and_in("c", std::iter::empty());
        let (text, values) = sql.finish(" ORDER BY a");
        assert_eq!(text, "SELECT a FROM t WHERE TRUE AND a = $1 AND b IN ($2, $3) AND FALSE ORDER BY a");
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn rows_are_bound_one_after_the_other() {
        let mut sql = Conditions::with("UPDATE t SET a = $1 FROM (VALUES ", vec![Value::from(9)]);
        sql.rows([[1i64, 2], [3, 4]].into_iter().map(|row| row.map(Value::from).to_vec()));
        let (text, values) = sql.finish(") AS v WHERE TRUE");
        assert_eq!(text, "UPDATE t SET a = $1 FROM (VALUES ($2, $3), ($4, $5)) AS v WHERE TRUE");
        assert_eq!(values.len(), 5);
    }

    #[test]
    fn signs_of_patterns_stand_for_themselves() {
        assert_eq!(contains_pattern(r"50%_\"), r"%50\%\_\\%");
    }
}
