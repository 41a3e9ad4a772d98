//! `mailauth import`: the secrets of another program's file, all or none.

use super::{DATA, Failure, Outcome, USAGE};
use crate::auth;
use crate::cli::mailauth::{Import, ImportFormat, ImportType};
use crate::config::Config;
use crate::error::Error;
use crate::log::escape::Sentence;
use crate::protocol::name::UserName;
use crate::secret::Secret;
use crate::secrets::import::{self, About, Format, Found, Kept, LARGEST, Note, Record};
use crate::secrets::{self, Batch, Limited, Material, NewEntry, Owner, Places, SecretType, Store};
use crate::sys::{account, memory, names};
use crate::ui::{self, Table};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What `--dry-run` lists. Never a secret.
const COLUMNS: &[&str] = &["line", "user", "type", "label", "action", "why"];

/// Reads the file with the caller's rights, judges all of it, and only then opens the database.
pub(super) fn run(options: &Import, config: &Config, places: &Places) -> Outcome {
    // The process ends when this is done; what it frees holds secrets.
    memory::overwrite_freed(true);
    memory::overwrite_freed_by_libraries();
    let input = Input::read(&options.file)?;
    let about = About { name: &input.name, owner: input.owner.as_deref() };
    let (format, mut found) = import::read(&input.octets, about, options.from.map(format_of))
        .map_err(|why| Failure::new(DATA, format!("{} {why}", input.name)))?;
    set_type(&mut found, format, options.kind)?;
    let mut plan = Plan::of(found, format, options, config)?;
    super::become_owner(places)?;
    let mut store = Store::open(places)?;
    plan.ask(&store, options.replace)?;
    plan.look_at_locks(&store)?;
    plan.open(&store, places)?;
    if options.dry_run {
        ui::say(&plan.table().render(options.format.unwrap_or_else(ui::Format::usual)))?;
        say(&format!("{} is read as {format}", input.name));
        plan.say_locks("would be locked, as in the backup");
        plan.say_change(format);
        return plan.verdict(&input.name);
    }
    plan.complain(&input.name);
    plan.verdict(&input.name)?;
    let materials = plan.materials()?;
    let entries = plan.entries(&materials);
    match store.add_all(places, &entries, &plan.locked(), &plan.limited, options.replace)? {
        Batch::Done { first } => {
            let (count, noun) = (entries.len(), if entries.len() == 1 { "entry" } else { "entries" });
            say(&format!("{count} {noun} imported from {} ({format})", input.name));
            plan.say_locks("locked, as in the backup");
            plan.say_change(format);
            super::add::announced(first, config);
            Ok(())
        }
        Batch::Refused(refused) => {
            // Somebody else added them since we looked.
            for (index, why) in refused {
                plan.refuse(index, why);
            }
            plan.complain(&input.name);
            plan.verdict(&input.name)
        }
    }
}

/// A line for people.
fn say(text: &str) {
    ui::complain(&format!("mailauth: {}\n", Sentence(text.as_bytes())));
}

/// What secrets without a type are for.
fn set_type(found: &mut Found, format: Format, kind: Option<ImportType>) -> Outcome {
    match kind {
        None => {}
        Some(_) if format.names_types() => {
            return Err(Failure::new(
                USAGE,
                format!("--type is not for {format}, which names the types itself"),
            ));
        }
        Some(ImportType::Apop) => found.records.iter_mut().for_each(|record| record.kind = SecretType::Apop),
        Some(ImportType::Pop) => found.records.iter_mut().for_each(|record| record.kind = SecretType::Pop),
    }
    Ok(())
}

/// What is imported.
struct Input {
    name: String,
    owner: Option<String>,
    octets: Zeroizing<Vec<u8>>,
}

impl Input {
    fn read(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let octets = read(io::stdin().lock(), 0, path)?;
            return Ok(Self { name: "standard input".to_owned(), owner: None, octets });
        }
        let path = &page_file(path);
        let failed = |cause| Failure::from(Error::io(format!("cannot read {}", path.display()), cause));
        let file = File::open(path).map_err(failed)?;
        let status = file.metadata().map_err(failed)?;
        if status.is_dir() {
            return Err(Failure::new(DATA, format!("{} is a directory", path.display())));
        }
        if status.is_file() && status.mode() & 0o077 != 0 {
            let (shown, mode) = (path.display(), status.mode() & 0o7777);
            let text =
                format!("{shown} has secrets and may be read by others (mode {mode:04o}): chmod 600 {shown}");
            ui::complain(&format!("mailauth: {}\n", Sentence(text.as_bytes())));
        }
        let octets = read(file, status.len(), path)?;
        Ok(Self { name: path.to_string_lossy().into_owned(), owner: Some(names::user(status.uid())), octets })
    }
}

/// A database of ndbm's is two files, and goes by the name of either or of none.
fn page_file(path: &Path) -> PathBuf {
    let pages = path.with_extension("pag");
    let is_other_half = path.extension().is_some_and(|extension| extension == "dir");
    if (is_other_half || !path.exists()) && pages.exists() { pages } else { path.to_owned() }
}

/// All of it, or one octet more than may be.
fn read(input: impl Read, length: u64, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room is taken at once: growing would leave copies behind.
    let room = usize::try_from(length).unwrap_or(LARGEST).clamp(64 * 1024, LARGEST) + 2;
    let mut octets = Zeroizing::new(Vec::with_capacity(room));
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    input
        .take(most)
        .read_to_end(&mut octets)
        .map_err(|cause| Error::io(format!("cannot read {}", path.display()), cause))?;
    Ok(octets)
}

const fn format_of(format: ImportFormat) -> Format {
    match format {
        ImportFormat::Popauth => Format::Popauth,
        ImportFormat::Gdbm => Format::Gdbm,
        ImportFormat::Db => Format::Db,
        ImportFormat::Ndbm => Format::Ndbm,
        ImportFormat::Mailutils => Format::Mailutils,
        ImportFormat::Dovecot => Format::Dovecot,
        ImportFormat::Solid => Format::Solid,
        ImportFormat::Csv => Format::Csv,
        ImportFormat::Backup => Format::Backup,
    }
}

/// One record and what is to become of it.
struct Step {
    record: Record,
    is_virtual: bool,
    refused: Option<String>,
}

impl Step {
    /// The user, and which of several entries it is.
    fn label(&self) -> String {
        let Record { user, kind, label, .. } = &self.record;
        if label.is_empty() { user.clone() } else { format!("{user} ({kind} {label})") }
    }

    /// What of the line is not taken.
    fn remark(&self) -> Option<String> {
        if self.is_virtual {
            Some(self.record.remark.clone()).filter(|remark| !remark.is_empty())
        } else if self.record.offered.is_some() || !self.record.remark.is_empty() {
            Some("ids, home and mail of this line are not taken: this is a user of the system".to_owned())
        } else {
            None
        }
    }
}

/// What is to become of an input.
struct Plan {
    steps: Vec<Step>,
    left_out: Vec<Note>,
    faults: Vec<Note>,
    replaced: HashSet<usize>,
    nobody: Owner,
    locked: Vec<(usize, String)>,
    newly_locked: Vec<(usize, String)>,
    limited: Vec<Limited>,
    key_id: Option<String>,
    format: Format,
}

impl Plan {
    /// Judges records by all that needs no database.
    fn of(found: Found, format: Format, options: &Import, config: &Config) -> Result<Self, Failure> {
        let Found { records, left_out, mut faults, locked, limited, key_id } = found;
        let mut seen: HashMap<(String, SecretType, String), usize> = HashMap::new();
        let mut steps = Vec::with_capacity(records.len());
        let mut wants_virtual = false;
        for record in records {
            let (is_virtual, fault) = user(&record.user, record.owner.is_some(), options, config)?;
            let own = record.owner.as_ref().or(record.offered.as_ref());
            wants_virtual |= is_virtual && own.is_none_or(|owner| owner.ids.is_none());
            let offered = record.offered.as_ref().filter(|_| is_virtual).and_then(|owner| owner.ids);
            let fault = fault.or_else(|| {
                offered.and_then(|(uid, _)| super::add::usable(uid, config).err()).map(|why| why.text)
            });
            let before = seen
                .insert((record.user.clone(), record.kind, record.label.clone()), record.place)
                .map(|line| format!("stands on line {line} already"));
            let refused =
                fault.or(before).or_else(|| weak(&record, options.force || format == Format::Backup));
            steps.push(Step { record, is_virtual, refused });
        }
        if wants_virtual {
            // Fails where such users could not log in.
            super::virtual_owner(config)?;
        }
        let limits = limited.iter().filter(|user| !locked.iter().any(|(_, name)| *name == user.user));
        let limits = limits.map(|user| (user.place, &user.user, "limited"));
        for (place, name, what) in locked.iter().map(|(place, name)| (*place, name, "locked")).chain(limits) {
            let has_entry = steps.iter().any(|step| step.record.user == *name);
            if !has_entry && super::system_user(name)?.is_none() {
                let why = format!("is {what} without an entry, and the system has no such user");
                faults.push(Note { place, user: name.clone(), why });
            }
        }
        let (replaced, nobody) = (HashSet::new(), Owner::default());
        Ok(Self {
            steps,
            left_out,
            faults,
            replaced,
            nobody,
            locked,
            newly_locked: Vec::new(),
            limited,
            key_id,
            format,
        })
    }

    /// Judges them by the database.
    fn ask(&mut self, store: &Store, replace: bool) -> Outcome {
        let asked: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                (step.record.user.as_str(), step.record.kind, step.record.label.as_str(), step.is_virtual)
            })
            .collect();
        let there: HashSet<usize> =
            store.conflicts(&asked, false)?.into_iter().map(|(index, _)| index).collect();
        let refused = store.conflicts(&asked, replace)?;
        self.replaced = there;
        for (index, why) in refused {
            self.refuse(index, why);
        }
        Ok(())
    }

    /// Which locks of a backup change something here.
    fn look_at_locks(&mut self, store: &Store) -> Outcome {
        for (place, name) in &self.locked {
            if !store.user(name)?.is_some_and(|user| user.locked) {
                self.newly_locked.push((*place, name.clone()));
            }
        }
        Ok(())
    }

    fn say_locks(&self, what: &str) {
        if !self.newly_locked.is_empty() {
            let names: Vec<&str> = self.newly_locked.iter().map(|(_, name)| name.as_str()).collect();
            say(&format!("{what}: {}", names.join(", ")));
        }
    }

    /// What changes for users whose secrets have been passwords until now.
    fn say_change(&self, format: Format) {
        if format == Format::Dovecot && self.steps.iter().any(|step| step.record.kind == SecretType::Apop) {
            say(
                "users with an APOP entry log in by APOP, CRAM-MD5 or SCRAM-SHA-256 and no more by PASS or PLAIN; \
                 import --type POP makes passwords for those",
            );
        }
    }

    /// Opens what a backup has sealed. Only the key that sealed it does.
    fn open(&mut self, store: &Store, places: &Places) -> Outcome {
        if !self.steps.iter().any(|step| matches!(step.record.secret, Kept::Sealed(_))) {
            return Ok(());
        }
        let key = store.key(places)?;
        if !self.key_id.as_ref().is_some_and(|id| Store::is_key(&key, id)) {
            let what = "the backup was sealed by another key than this database's: bring back the key of that time with \
                        its database, or use a backup by export --plain; nothing was changed";
            return Err(Failure::new(DATA, what));
        }
        for Step { record, refused, .. } in &mut self.steps {
            let Kept::Sealed(sealed) = &record.secret else { continue };
            match Store::open_sealed(&key, &record.user, record.kind, sealed) {
                Some(secret) => record.secret = Kept::Plain(secret),
                None => {
                    refused
                        .get_or_insert_with(|| "the secret does not open: the backup is damaged".to_owned());
                }
            }
        }
        Ok(())
    }

    /// Whom a backup has locked.
    fn locked(&self) -> Vec<&str> {
        self.locked.iter().map(|(_, name)| name.as_str()).collect()
    }

    fn refuse(&mut self, index: usize, why: String) {
        if let Some(step) = self.steps.get_mut(index) {
            step.refused.get_or_insert(why);
        }
    }

    fn refusals(&self) -> usize {
        self.faults.len() + self.steps.iter().filter(|step| step.refused.is_some()).count()
    }

    /// What was wrong or left out, by line, on standard error.
    fn complain(&self, file: &str) {
        let mut lines: Vec<(usize, String)> = Vec::new();
        let mut say = |place: usize, user: &str, why: &str| {
            let user = if user.is_empty() { String::new() } else { format!("{user}: ") };
            lines.push((place, format!("{file}:{place}: {user}{why}")));
        };
        for Note { place, user, why } in &self.left_out {
            say(*place, user, &format!("left out: {why}"));
        }
        for Note { place, user, why } in &self.faults {
            say(*place, user, why);
        }
        for step in &self.steps {
            if let Some(why) = &step.refused {
                say(step.record.place, &step.label(), why);
            } else if let Some(remark) = step.remark() {
                say(step.record.place, &step.record.user, &remark);
            }
        }
        lines.sort();
        for (_, line) in lines {
            ui::complain(&format!("mailauth: {}\n", Sentence(line.as_bytes())));
        }
    }

    /// What would happen, by line.
    fn table(&self) -> Table {
        let mut rows: Vec<(usize, [String; 5])> = Vec::new();
        for (action, notes) in [("leave out", &self.left_out), ("refuse", &self.faults)] {
            for Note { place, user, why } in notes {
                rows.push((
                    *place,
                    [user.clone(), String::new(), String::new(), action.to_owned(), why.clone()],
                ));
            }
        }
        for (place, name) in &self.newly_locked {
            let [kind, label, why] = [const { String::new() }; 3];
            rows.push((*place, [name.clone(), kind, label, "lock".to_owned(), why]));
        }
        for (index, step) in self.steps.iter().enumerate() {
            let Step { record, refused, .. } = step;
            let action = match refused {
                Some(_) => "refuse",
                None if self.replaced.contains(&index) => "replace",
                None => "add",
            };
            let (kind, why) = (
                record.kind.as_str().to_owned(),
                refused.clone().or_else(|| step.remark()).unwrap_or_default(),
            );
            let row = [record.user.clone(), kind, record.label.clone(), action.to_owned(), why];
            rows.push((record.place, row));
        }
        rows.sort();
        let mut table = Table::new(COLUMNS);
        for (place, row) in rows {
            table.row(std::iter::once(place.into()).chain(row.map(Into::into)).collect());
        }
        table
    }

    /// Whether there is something to import and nothing in its way.
    fn verdict(&self, file: &str) -> Outcome {
        match self.refusals() {
            0 if self.steps.is_empty() && self.locked.is_empty() && self.limited.is_empty() => {
                let what = format!("{file}, read as {}, has no secret to import", self.format);
                Err(Failure::new(DATA, what))
            }
            0 => Ok(()),
            count => {
                let noun = if count == 1 { "entry" } else { "entries" };
                let what =
                    format!("{file}, read as {}, has {count} {noun} that cannot be imported", self.format);
                Err(Failure::new(DATA, format!("{what}; nothing was changed")))
            }
        }
    }

    /// What is stored, by step: the secret, or what an application password is verified by.
    fn materials(&self) -> Result<Vec<Option<Secret>>, Failure> {
        let make = |step: &Step| match (&step.record.secret, step.record.kind) {
            (Kept::Plain(secret), SecretType::Pop) => auth::password_hash(secret).map(Some),
            (Kept::Plain(secret), _) => Ok(Some(secret.clone())),
            (Kept::Verifier(verifier), _) => Ok(Some(verifier.clone())),
            // Those that did not open were refused.
            (Kept::Sealed(_), _) => Ok(None),
        };
        Ok(self.steps.iter().map(make).collect::<crate::error::Result<_>>()?)
    }

    fn entries<'a>(&'a self, materials: &'a [Option<Secret>]) -> Vec<NewEntry<'a>> {
        let new = |(step, material): (&'a Step, &'a Option<Secret>)| {
            let Record { user, kind, label, owner, offered, .. } = &step.record;
            let owner =
                step.is_virtual.then_some(owner.as_ref().or(offered.as_ref()).unwrap_or(&self.nobody));
            let material = material.as_ref()?;
            let material = match kind {
                SecretType::Pop => Material::Verifier(material),
                SecretType::Apop | SecretType::Imap => Material::Sealed(material),
            };
            Some(NewEntry { user, owner, kind: *kind, label, material })
        };
        self.steps.iter().zip(materials).filter_map(new).collect()
    }
}

/// Whether a name is to be a virtual user, and what is wrong with it.
fn user(
    name: &str,
    known_as_virtual: bool,
    options: &Import,
    config: &Config,
) -> Result<(bool, Option<String>), Failure> {
    if UserName::parse(name.as_bytes()).is_none() {
        return Ok((false, Some("is no user name (1 to 64 octets of A-Z a-z 0-9 . _ + @ = -)".to_owned())));
    }
    Ok(match super::system_user(name)? {
        Some(account::User { uid, .. }) if uid == 0 || uid < config.auth.min_uid => {
            (false, Some(format!("cannot log in: uid {uid} is root's or below auth.min_uid")))
        }
        Some(_) if known_as_virtual => {
            (true, Some("is a user of the system here, and a virtual one in the backup".to_owned()))
        }
        Some(_) => (false, None),
        None if options.take_virtual || known_as_virtual => (true, None),
        None => (
            false,
            Some("the system has no such user; --virtual takes all such names as virtual users".to_owned()),
        ),
    })
}

/// What is wrong with a secret. What cannot be stored or sent is wrong even with `--force`.
fn weak(record: &Record, force: bool) -> Option<String> {
    // What is sealed or a verifier was judged when it was set.
    let Kept::Plain(secret) = &record.secret else { return None };
    if let Some(impossible) = secrets::impossible(secret) {
        return Some(impossible);
    }
    let fault = secrets::fault(&record.user, secret).filter(|_| !force)?;
    Some(format!("{fault}; --force takes it"))
}
