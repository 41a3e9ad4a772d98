//! `mailusradm show`: the messages of a maildrop as a client sees them, or one of them.
//!
//! Everything is read and decoded by an errand: a child that has become the user, behind a session's fence. What it says is a
//! stranger's word, and made harmless before it is shown.

use super::{Failure, Outcome, account, only_own};
use crate::app::outcome::{NO, USAGE};
use crate::auth::Account;
use crate::cli::mailusradm::Show;
use crate::config::Config;
use crate::error::Result as Told;
use crate::maildrop::{Entry, Imported, Maildrop, preview};
use crate::process::errand::{self, Site, Tell};
use crate::protocol::{MsgNo, listing};
use crate::sys::clock::{self, Zone};
use crate::ui::{self, Column, Format, Kind, Table, chart, human};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const COLUMNS: &[Column] = &[
    Column::new("message", Kind::Number),
    Column::spare("uidl", Kind::Text, 3),
    Column::new("octets", Kind::Octets),
    Column::spare("received", Kind::Time, 2),
    Column::spare("from", Kind::Sentence, 1),
    Column::new("subject", Kind::Sentence),
];

/// So many messages are told at once: with the longest sender and subject they fit into a message of the child's.
const TOLD: usize = 16;

/// So many rows make a page of a table, so that a million messages need no more memory than a page.
const PAGE: usize = 1000;

/// What is told of one message.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Message {
    number: u32,
    uidl: String,
    octets: u64,
    received: u32,
    from: String,
    subject: String,
}

/// Shows the list or one message.
pub(super) fn run(options: &Show, config: &Config) -> Outcome {
    let account = only_own(account(config, &options.user)?, "look at")?;
    let format = options.listing.format.unwrap_or_else(Format::usual);
    if let Some(number) = options.number {
        let one = Shown::of(config, &account, number, options.text)?;
        return one.write(&options.user, format);
    }
    if options.text {
        return Err(Failure::new(
            USAGE,
            format!("--text shows one message: mailusradm show {} 1 --text", options.user),
        ));
    }
    let mut pages = Pages::new(options, format)?;
    let mut failure = Ok(());
    let work = |site: Site, tell: Tell<'_, Vec<Message>>| {
        let mut maildrop = site.open()?;
        tell_all(maildrop.as_mut(), tell)
    };
    let shown = errand::look(config, &account, work, |messages| {
        if failure.is_ok() {
            failure = messages.into_iter().try_for_each(|message| pages.add(message));
        }
        Ok(())
    });
    failure?;
    pages.end()?;
    shown?;
    pages.charts()
}

/// Tells every message, in order. In the child.
fn tell_all(maildrop: &mut dyn Maildrop, tell: Tell<'_, Vec<Message>>) -> Told<()> {
    let imported = maildrop.imported()?;
    let (mut page, mut buffer, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 1;
    while let Some(first) = MsgNo::new(next).filter(|first| first.get() <= maildrop.count()) {
        maildrop.entries(first, &mut page)?;
        for entry in &page {
            let Some(number) = MsgNo::new(next) else { break };
            told.push(about(maildrop, number, entry, &imported, &mut buffer)?);
            next += 1;
            if told.len() == TOLD {
                tell(&told)?;
                told.clear();
            }
        }
    }
    tell(&told)
}

/// The list, written page by page.
struct Pages<'a> {
    options: &'a Show,
    format: Format,
    table: Table,
    rows: usize,
    begun: bool,
    zone: Zone,
    now: i64,
    ages: [Group; 6],
    sizes: [Group; 6],
}

/// A bar of a chart.
#[derive(Clone, Copy, Default)]
struct Group {
    messages: u64,
    octets: u64,
}

/// Names of the ages, and how old in seconds what stands there is at most.
const AGES: [(&str, i64); 6] = [
    ("a day", 86_400),
    ("a week", 604_800),
    ("a month", 2_592_000),
    ("six months", 15_552_000),
    ("a year", 31_536_000),
    ("longer", i64::MAX),
];

/// Names of the sizes, and how many octets what stands there has at most.
const SIZES: [(&str, u64); 6] = [
    ("4K", 4 << 10),
    ("32K", 32 << 10),
    ("256K", 256 << 10),
    ("1M", 1 << 20),
    ("10M", 10 << 20),
    ("more", u64::MAX),
];

impl<'a> Pages<'a> {
    fn new(options: &'a Show, format: Format) -> Result<Self, Failure> {
        let pages = Self {
            options,
            format,
            table: Table::of(COLUMNS),
            rows: 0,
            begun: false,
            zone: Zone::local(),
            now: clock::wall_seconds(),
            ages: Default::default(),
            sizes: Default::default(),
        };
        // A wrong name is said before anything is read.
        Table::of(COLUMNS).choose(&options.listing.columns).map_err(|text| Failure::new(USAGE, text))?;
        Ok(pages)
    }

    fn add(&mut self, message: Message) -> Outcome {
        let received = i64::from(message.received);
        let age = self.now.saturating_sub(received);
        let in_age = AGES.iter().position(|(_, most)| age <= *most);
        let in_size = SIZES.iter().position(|(_, most)| message.octets <= *most);
        for group in
            in_age.map(|at| &mut self.ages[at]).into_iter().chain(in_size.map(|at| &mut self.sizes[at]))
        {
            group.messages += 1;
            group.octets = group.octets.saturating_add(message.octets);
        }
        let time = (received > 0).then(|| self.zone.time(received));
        self.table.row(vec![
            message.number.into(),
            message.uidl.into(),
            message.octets.into(),
            time.into(),
            some(message.from),
            some(message.subject),
        ]);
        self.rows += 1;
        if self.rows == PAGE { self.page() } else { Ok(()) }
    }

    /// Writes what has been gathered.
    fn page(&mut self) -> Outcome {
        let mut table = std::mem::replace(&mut self.table, Table::of(COLUMNS));
        table.choose(&self.options.listing.columns).map_err(|text| Failure::new(USAGE, text))?;
        let mut text = table.render(self.format);
        if self.format == Format::Json {
            // One array of all pages.
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']').trim_matches('\n');
            text = format!("{}{inner}", if self.begun { ",\n" } else { "[\n" });
        }
        (self.rows, self.begun) = (0, true);
        Ok(ui::say(&text)?)
    }

    fn end(&mut self) -> Outcome {
        if self.rows > 0 || (!self.begun && self.format == Format::Table) {
            self.page()?;
        }
        match (self.format, self.begun) {
            (Format::Json, true) => Ok(ui::say("\n]\n")?),
            (Format::Json, false) => Ok(ui::say("[]\n")?),
            _ => Ok(()),
        }
    }

    /// How old and how large messages are, on a terminal alone.
    fn charts(&self) -> Outcome {
        let all: u64 = self.sizes.iter().map(|group| group.messages).sum();
        if self.format != Format::Table || all == 0 {
            return Ok(());
        }
        let width = usize::from(ui::width().unwrap_or(80)).clamp(40, 100) - 34;
        let mut text = String::new();
        for (title, names, groups) in [
            ("age, at most", AGES.map(|(name, _)| name), &self.ages),
            ("size, at most", SIZES.map(|(name, _)| name), &self.sizes),
        ] {
            text += &format!("\n {title:<14}{:>8}  {:>6}\n", "messages", "octets");
            let most = groups.iter().map(|group| group.messages).max().unwrap_or(0);
            for (name, group) in names.iter().zip(groups) {
                let bar = chart::bar(group.messages, most, width);
                let line =
                    format!(" {name:<14}{:>8}  {:>6}  {bar}", group.messages, human::octets(group.octets));
                text += line.trim_end();
                text.push('\n');
            }
        }
        Ok(ui::say(&text)?)
    }
}

fn some(text: String) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// One message.
#[derive(Default)]
struct Shown {
    /// Messages in the maildrop.
    count: u32,
    about: Option<Message>,
    header: String,
    text: Option<String>,
    /// It is longer than what is shown.
    cut: bool,
}

/// A piece of it on its way from the child.
#[derive(Serialize, Deserialize)]
enum Piece {
    About(Box<Message>),
    Header(String),
    Text(String),
}

/// The most characters of a piece: with the escapes of JSON they fit into a message of the child's.
const PIECE: usize = 8000;

impl Shown {
    fn of(config: &Config, account: &Account, number: u32, text: bool) -> Result<Self, Failure> {
        let mut shown = Self::default();
        let work = |site: Site, tell: Tell<'_, Piece>| {
            let mut maildrop = site.open()?;
            let count = maildrop.count();
            let Some(message) = MsgNo::new(number).filter(|message| message.get() <= count) else {
                return Ok((count, false));
            };
            let (imported, mut page) = (maildrop.imported()?, Vec::new());
            maildrop.entries(message, &mut page)?;
            if let Some(entry) = page.first() {
                let about = about(maildrop.as_mut(), message, entry, &imported, &mut Vec::new())?;
                tell(&Piece::About(Box::new(about)))?;
            }
            let (octets, cut) = preview::whole(maildrop.as_mut(), message)?;
            let header = String::from_utf8_lossy(preview::header(&octets)).into_owned();
            in_pieces(&header, |piece| tell(&Piece::Header(piece)))?;
            if text {
                in_pieces(&preview::text(&octets), |piece| tell(&Piece::Text(piece)))?;
            }
            Ok((count, cut))
        };
        let (count, cut) = errand::look(config, account, work, |piece| {
            match piece {
                Piece::About(about) => shown.about = Some(*about),
                Piece::Header(piece) => shown.header += &piece,
                Piece::Text(piece) => *shown.text.get_or_insert_default() += &piece,
            }
            Ok(())
        })?;
        Ok(Self { count, cut, ..shown })
    }

    fn write(self, user: &str, format: Format) -> Outcome {
        let Self { count, about, header, text, cut } = self;
        let Some(about) = about else {
            return Err(Failure::new(NO, format!("{user} has no such message, but messages: {count}")));
        };
        let fields = fields(&header);
        let written = match format {
            Format::Json => {
                let received = (about.received > 0).then(|| Zone::local().time(i64::from(about.received)));
                let fields: Vec<Value> =
                    fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
                let object = json!({
                    "message": about.number,
                    "uidl": about.uidl,
                    "octets": about.octets,
                    "received": received,
                    "from": some(about.from),
                    "subject": some(about.subject),
                    "header": fields,
                    "text": text,
                });
                format!("{object:#}\n")
            }
            Format::Tsv | Format::Table => {
                let mut written = ui::readable(&header.replace("\r\n", "\n"));
                written.push('\n');
                if let Some(text) = text {
                    written += &format!("\n{}", ui::readable(&text.replace("\r\n", "\n")));
                    if !written.ends_with('\n') {
                        written.push('\n');
                    }
                }
                written
            }
        };
        ui::say(&written)?;
        if cut {
            super::remark("the message is longer than what is shown of it");
        }
        Ok(())
    }
}

/// What the list says of one message. In the child.
fn about(
    maildrop: &mut dyn Maildrop,
    number: MsgNo,
    entry: &Entry,
    imported: &Imported,
    buffer: &mut Vec<u8>,
) -> Told<Message> {
    let mut uidl = Vec::new();
    match imported.get(entry.uidl) {
        Some(id) => uidl.extend_from_slice(id),
        None => listing::write_uidl(entry.uidl.hash, entry.uidl.twin, &mut uidl),
    }
    let preview = preview::preview(maildrop, number, buffer)?;
    Ok(Message {
        number: number.get(),
        uidl: String::from_utf8_lossy(&uidl).into_owned(),
        octets: entry.octets,
        received: entry.received,
        from: preview.from,
        subject: preview.subject,
    })
}

fn in_pieces(text: &str, mut tell: impl FnMut(String) -> Told<()>) -> Told<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(PIECE);
        let (piece, more) = rest.split_at(end);
        tell(piece.to_owned())?;
        rest = more;
    }
    Ok(())
}

/// The fields of a header, unfolded.
fn fields(header: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in header.lines() {
        match (line.starts_with([' ', '\t']), fields.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => *value += line,
            (false, _, Some((name, value))) => {
                fields.push((name.trim().to_owned(), value.trim_start().to_owned()));
            }
            _ => fields.push((String::new(), line.to_owned())),
        }
    }
    fields
}
