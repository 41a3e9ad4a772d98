//! A disk whose power may fail: which states of a directory may be left of a list of changes.

use super::record::{Node, Operation};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Names of a directory: the file, and its octets.
pub(crate) type Folder = BTreeMap<String, (Node, Vec<u8>)>;

/// Changes of a file that were not synced, up to which every choice of them is tried.
const MOST_CHOICES: usize = 5;
/// What a disk writes as a whole, in octets.
const SECTOR: usize = 512;
/// Places at which one write is torn.
const TEARS: usize = 6;

/// What is on the disk, durable.
#[derive(Default)]
pub(crate) struct Disk {
    names: HashMap<Node, BTreeMap<String, Node>>,
    files: HashMap<Node, Vec<u8>>,
}

impl Disk {
    /// Takes these directories as they are.
    pub(crate) fn read(directories: &[&Path]) -> Self {
        let mut disk = Self::default();
        let node = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).unwrap();
        for directory in directories {
            let names = disk.names.entry(node(directory)).or_default();
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                names.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), node(&path));
                disk.files.insert(node(&path), fs::read(&path).unwrap());
            }
        }
        disk
    }

    /// What may be left of the directory when the power fails behind these changes.
    pub(crate) fn left(&self, done: &[&Operation], directory: Node) -> BTreeSet<Folder> {
        let synced = done.iter().rposition(|change| **change == Operation::Sync { node: directory });
        let mut left = BTreeSet::new();
        let mut names = self.names.get(&directory).cloned().unwrap_or_default();
        for (place, change) in done.iter().enumerate() {
            if synced.is_none_or(|synced| place > synced) {
                left.extend(self.folders(&names, done));
            }
            rename(&mut names, change, directory);
        }
        left.extend(self.folders(&names, done));
        left
    }

    /// The directory with these names, and all that may have become of the files.
    fn folders(&self, names: &BTreeMap<String, Node>, done: &[&Operation]) -> Vec<Folder> {
        let mut folders = vec![Folder::new()];
        for (name, file) in names {
            let contents = self.contents(*file, done);
            folders = folders
                .iter()
                .flat_map(|folder| {
                    contents.iter().map(|octets| {
                        let mut folder = folder.clone();
                        folder.insert(name.clone(), (*file, octets.clone()));
                        folder
                    })
                })
                .collect();
        }
        folders
    }

    /// What may have become of a file.
    fn contents(&self, file: Node, done: &[&Operation]) -> BTreeSet<Vec<u8>> {
        let synced = done.iter().rposition(|change| **change == Operation::Sync { node: file });
        let mut durable = self.files.get(&file).cloned().unwrap_or_default();
        let mut pending: Vec<&Operation> = Vec::new();
        for (place, change) in done.iter().enumerate() {
            match change {
                Operation::Write { file: to, .. } | Operation::Truncate { file: to, .. } if *to == file => {
                    if synced.is_some_and(|synced| place < synced) {
                        apply(&mut durable, change);
                    } else {
                        pending.push(change);
                    }
                }
                // A number is used again for a new file.
                Operation::Create { file: made, .. } if *made == file => {
                    durable.clear();
                    pending.clear();
                }
                _ => {}
            }
        }
        choices(&durable, &pending)
    }
}

fn rename(names: &mut BTreeMap<String, Node>, change: &Operation, directory: Node) {
    match change {
        Operation::Create { directory: here, name, file } if *here == directory => {
            names.insert(name.clone(), *file);
        }
        Operation::Rename { directory: here, from, to } if *here == directory => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Operation::Remove { directory: here, name } if *here == directory => {
            names.remove(name);
        }
        _ => {}
    }
}

/// The contents that any choice of the pending changes makes, and those with one of them torn.
fn choices(durable: &[u8], pending: &[&Operation]) -> BTreeSet<Vec<u8>> {
    let masks: Vec<u64> = if pending.len() <= MOST_CHOICES {
        (0..1 << pending.len()).collect()
    } else {
        let prefixes = (0..=pending.len()).map(|count| (1 << count) - 1);
        let without = (0..pending.len()).map(|one| ((1 << pending.len()) - 1) & !(1 << one));
        prefixes.chain(without).collect()
    };
    let mut found = BTreeSet::new();
    for mask in masks {
        let chosen = |place: usize| mask >> place & 1 == 1;
        let mut octets = durable.to_vec();
        for (place, change) in pending.iter().enumerate().filter(|(place, _)| chosen(*place)) {
            for torn in tears(change) {
                let mut octets = octets.clone();
                apply(&mut octets, &torn);
                pending
                    .iter()
                    .enumerate()
                    .filter(|(next, _)| *next > place && chosen(*next))
                    .for_each(|(_, change)| apply(&mut octets, change));
                found.insert(octets);
            }
            apply(&mut octets, change);
        }
        found.insert(octets);
    }
    found
}

/// A write of which the first sectors came to the disk, or the last.
fn tears(change: &Operation) -> Vec<Operation> {
    let Operation::Write { file, offset, data } = change else { return Vec::new() };
    let first = SECTOR - usize::try_from(*offset).unwrap() % SECTOR;
    let borders: Vec<usize> = (first..data.len()).step_by(SECTOR).collect();
    let step = borders.len().div_ceil(TEARS).max(1);
    let part = |from: usize, to: usize| Operation::Write {
        file: *file,
        offset: offset + from as u64,
        data: data[from..to].to_vec(),
    };
    borders.iter().step_by(step).flat_map(|&border| [part(0, border), part(border, data.len())]).collect()
}

fn apply(octets: &mut Vec<u8>, change: &Operation) {
    match change {
        Operation::Write { offset, data, .. } => {
            let start = usize::try_from(*offset).unwrap();
            octets.resize(octets.len().max(start + data.len()), 0);
            octets[start..start + data.len()].copy_from_slice(data);
        }
        Operation::Truncate { length, .. } => octets.resize(usize::try_from(*length).unwrap(), 0),
        _ => {}
    }
}
