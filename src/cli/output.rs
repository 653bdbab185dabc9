//! Answers in the form that was asked for: the API's JSON unchanged, or tables and details.

use crate::cli::client::{self, Answer, Listing};
use crate::cli::{Cell, Column, Failure, Session, table};
use serde::de::DeserializeOwned;

impl Session {
    /// Prints a list and says where it was cut.
    pub fn print_list<T: DeserializeOwned>(&mut self, listing: &Listing, columns: &[Column<T>]) -> Result<(), Failure> {
        if self.json() {
            let items: Vec<&str> = listing.items.iter().map(|item| item.get()).collect();
            self.terminal.line(&format!("[{}]", items.join(",")))?;
        } else {
            let rows = listing.read::<T>()?;
            self.print_rows(&rows, columns)?;
        }
        if listing.more {
            let shown = listing.items.len();
            self.terminal.note(&format!("The first {shown}; there are more. See them with --all or --limit N."));
        }
        Ok(())
    }

    pub fn print_rows<T>(&mut self, rows: &[T], columns: &[Column<T>]) -> Result<(), Failure> {
        if rows.is_empty() {
            self.terminal.note("There are none.");
            if self.terminal.out_is_tty {
                return Ok(());
            }
        }
        table::print(&mut self.terminal, self.globals.header, self.now, columns, rows)
    }

    pub fn print_details(&mut self, rows: &[(impl AsRef<str>, Cell)]) -> Result<(), Failure> {
        table::print_details(&mut self.terminal, self.now, rows)
    }

    /// Prints one object: unchanged as JSON, or as the details that `describe` makes of it.
    pub fn print_object<T: DeserializeOwned, N: AsRef<str>>(
        &mut self,
        json: &str,
        describe: impl FnOnce(&T) -> Vec<(N, Cell)>,
    ) -> Result<(), Failure> {
        if self.json() {
            return self.terminal.line(json.trim());
        }
        let object: T = client::read(json.as_bytes())?;
        self.print_details(&describe(&object))
    }

    /// The end of a command that changed something: the object as JSON, or a sentence to the person.
    pub fn report(&mut self, answer: &Answer, sentence: &str) -> Result<(), Failure> {
        let json = answer.text()?;
        if self.json() && !json.is_empty() {
            return self.terminal.line(json);
        }
        self.terminal.note(&table::plain(sentence));
        Ok(())
    }
}
