//! Paths with placeholders: `/var/mail/{user}`, `/var/spool/{user:1}/{user:2}/{user}`, `{home}/mbox`.

use serde::Deserialize;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// An absolute path with placeholders, checked when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The home directory; only at the beginning.
    Home,
    /// The whole name.
    User,
    /// The first characters of the name.
    Head(usize),
    /// What stands before the last `@` of the name.
    Local,
    /// What stands behind it.
    Domain,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The text says what is wrong: an unknown placeholder, a brace without its other one, a path that is not
    /// absolute, has a `..` in it, is the same for all users, or names a directory.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = split(text)?;
        match parts.first() {
            Some(Part::Home) => {}
            Some(Part::Text(first)) if first.starts_with('/') => {}
            _ => return Err(format!("\"{text}\" does not begin with / or {{home}}")),
        }
        if parts.iter().skip(1).any(|part| *part == Part::Home) {
            return Err(format!("{{home}} in \"{text}\" is not at the beginning"));
        }
        if text.split('/').any(|component| component == "..") || text.contains('\0') {
            return Err(format!("\"{text}\" has .. or NUL in it"));
        }
        if !parts.iter().any(|part| matches!(part, Part::User | Part::Home | Part::Local)) {
            return Err(format!(
                "\"{text}\" is one mailbox for all; put {{user}}, {{local}} or {{home}} into it"
            ));
        }
        if text.ends_with('/') || parts == [Part::Home] {
            return Err(format!("\"{text}\" names a directory; the mailbox's own name is missing"));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// A template that is part of the program; one that cannot be read is taken as plain text.
    pub(super) fn literal(text: &str) -> Self {
        Self::parse(text)
            .unwrap_or_else(|_| Self { text: text.to_owned(), parts: vec![Part::Text(text.to_owned())] })
    }

    /// The path for a user (design, section 4). What comes from the name never adds a `/` or a `..`: such
    /// characters become `_`, and so does a part that the name does not have (`{domain}` of `ann`).
    pub(crate) fn expand(&self, user: &str, home: &Path) -> PathBuf {
        let (local, domain) = user.rsplit_once('@').unwrap_or((user, ""));
        let mut path = OsString::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push(text),
                Part::Home if home.is_absolute() => path.push(home),
                Part::Home => path.push("/nonexistent"),
                Part::User => path.push(harmless(user)),
                Part::Head(characters) => path.push(harmless(head(user, *characters))),
                Part::Local => path.push(harmless(local)),
                Part::Domain => path.push(harmless(domain)),
            }
        }
        PathBuf::from(path)
    }

    /// The directory that holds all maildrops, when it is the same for all users.
    pub(crate) fn spool(&self) -> Option<&Path> {
        let fixed = match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => return None,
        };
        let end = fixed.rfind('/')?;
        Some(Path::new(fixed.get(..end.max(1))?))
    }
}

impl Template {
    /// How many names a maildrop's path has below [`Self::spool`].
    pub(crate) fn depth(&self) -> Option<usize> {
        let Some(Part::Text(first)) = self.parts.first().filter(|_| self.spool().is_some()) else {
            return None;
        };
        let behind = first.len() - first.rfind('/')?;
        Some(self.text.get(first.len() - behind..)?.matches('/').count())
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn split(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(brace);
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let inner = from_brace.strip_prefix('{').ok_or_else(|| format!("\"{text}\" has a }} without {{"))?;
        let (name, after) = inner.split_once('}').ok_or_else(|| format!("\"{text}\" has a {{ without }}"))?;
        parts.push(placeholder(name)?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn placeholder(name: &str) -> Result<Part, String> {
    match name {
        "home" => Ok(Part::Home),
        "user" => Ok(Part::User),
        "user:1" => Ok(Part::Head(1)),
        "user:2" => Ok(Part::Head(2)),
        "local" => Ok(Part::Local),
        "domain" => Ok(Part::Domain),
        _ => Err(format!(
            "{{{name}}} is no placeholder; there are {{user}} {{home}} {{user:1}} {{user:2}} {{local}} {{domain}}"
        )),
    }
}

fn head(name: &str, characters: usize) -> &str {
    let end = name.char_indices().nth(characters).map_or(name.len(), |(at, _)| at);
    name.get(..end).unwrap_or(name)
}

/// A piece of a name as a piece of one path component. Names that the login rules let through are unchanged,
/// but for a local part or domain that is empty or begins with a dot (`ann@..`).
fn harmless(piece: &str) -> String {
    let mut safe = piece.replace(['/', '\0'], "_");
    if safe.is_empty() {
        safe.push('_');
    } else if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    safe
}
