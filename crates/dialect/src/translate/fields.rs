//! An object of a request whose every member has to be accounted for: what is taken is translated, what is left is named.

use super::notes::Notes;
use crate::value::{Json, Object};
use anykey_core::refusal::echo;
use anykey_core::{Code, Refusal};

/// Members that have not been read yet.
pub struct Fields {
    members: Object,
    /// Where the object stands, with a dot behind: `messages[].`. Empty for the body.
    at: &'static str,
}

impl Fields {
    pub fn of(value: Json, at: &'static str) -> Result<Fields, Refusal> {
        match value {
            Json::Object(members) => Ok(Fields { members, at }),
            _ => Err(refuse(at.trim_end_matches('.'), "must be an object")),
        }
    }

    /// The same for proto JSON, whose members may be spelled in snake case as well.
    pub fn proto(value: Json, at: &'static str) -> Result<Fields, Refusal> {
        let fields = Fields::of(value, at)?;
        let camel = fields.members.into_members().into_iter();
        Ok(Fields { members: camel.map(|(name, value)| (camel_case(name), value)).collect(), at })
    }

    /// A member; `None` where it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        Some(self.members.take(name)).filter(|value| !value.is_null())
    }

    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.into_string().map(Some).ok_or_else(|| self.wrong(name, "must be a string"))
    }

    pub fn need_text(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.bool().map(Some).ok_or_else(|| self.wrong(name, "must be true or false"))
    }

    /// A number as it was written.
    pub fn number(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Number(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "must be a number")),
        }
    }

    /// A whole number.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.count().map(Some).ok_or_else(|| self.wrong(name, "must be a whole number"))
    }

    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Json>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(name, "must be an array")),
        }
    }

    /// Strings in a list.
    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        let texts: Option<Vec<String>> = list.into_iter().map(Json::into_string).collect();
        texts.map(Some).ok_or_else(|| self.wrong(name, "must be an array of strings"))
    }

    /// The `type` of a tagged object.
    pub fn kind(&mut self) -> Result<String, Refusal> {
        self.need_text("type")
    }

    /// A member of a wrong form.
    pub fn wrong(&self, name: &str, what: &str) -> Refusal {
        refuse(&format!("{}{name}", self.at), what)
    }

    /// A member that asks for what the chosen provider cannot do at all.
    pub fn unserved(&self, name: &str) -> Refusal {
        unserved(&format!("{}{name}", self.at))
    }

    /// Refuses those of the named members that are there.
    pub fn refuse_all(&self, names: &[&str]) -> Result<(), Refusal> {
        match names.iter().find(|name| self.has(name)) {
            Some(name) => Err(self.unserved(name)),
            None => Ok(()),
        }
    }

    /// Refuses whatever was not read.
    pub fn refuse_any(&self) -> Result<(), Refusal> {
        match self.members.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(self.unserved(name)),
            None => Ok(()),
        }
    }

    /// What was not read.
    pub fn rest(self) -> Object {
        self.members
    }

    /// Names what was not read.
    pub fn done(self, notes: &mut Notes) {
        for (name, value) in self.members.iter() {
            if !value.is_null() {
                notes.member(self.at, name);
            }
        }
    }
}

/// A name of proto JSON in its usual spelling.
pub fn camel_case(name: std::borrow::Cow<'static, str>) -> std::borrow::Cow<'static, str> {
    if !name.contains('_') {
        return name;
    }
    let mut out = String::with_capacity(name.len());
    let mut up = false;
    for c in name.chars() {
        match c {
            '_' => up = !out.is_empty(),
            c if up => {
                out.push(c.to_ascii_uppercase());
                up = false;
            }
            c => out.push(c),
        }
    }
    out.into()
}

/// A 400 that names the field.
pub fn refuse(field: &str, what: &str) -> Refusal {
    let field = echo(field);
    Refusal::new(Code::InvalidParameter, format!("`{field}` {what}.")).param(field)
}

/// A 400 for what the provider of this model has nothing for.
pub fn unserved(field: &str) -> Refusal {
    let field = echo(field);
    let message = format!(
        "`{field}` has no counterpart in the format of the provider that serves this model. Leave it out, or choose a \
         model of a provider that has it."
    );
    Refusal::new(Code::InvalidParameter, message).param(field)
}
