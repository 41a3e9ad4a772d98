//! What lies in files: the history, and the unique ids of another server.

use crate::history::Entry;
use crate::history::lines::{self, each_line};
use crate::maildrop::transfer::ids::{Ids, of_header};
use crate::maildrop::uidl::twins::is_id;
use crate::sys::file::anonymous;
use std::os::unix::fs::FileExt;

/// `history.log`: each whole line is read once, wherever reading begins anew, and says the same when it is written again. If the first
/// octet is odd, the rest is one line whose checksum is made right first.
pub fn history(octets: &[u8]) {
    let Some((&seal, octets)) = octets.split_first() else { return };
    let mut octets = octets.to_vec();
    if seal % 2 == 1 {
        octets = lines::seal(&octets);
    }
    let Ok(file) = anonymous(c"fuzz") else { return };
    if file.write_all_at(&octets, 0).is_err() {
        return;
    }
    let mut entries = Vec::new();
    let read = each_line(&file, 0, &mut |entry| {
        entries.extend(entry);
        Ok(())
    });
    let Ok(next) = read else { return };
    assert!(next <= octets.len() as u64, "inside the file");
    let mut more = 0;
    let rest = each_line(&file, next, &mut |_| {
        more += 1;
        Ok(())
    });
    assert_eq!((rest.ok(), more), (Some(next), 0), "what has no end waits for it, and nothing is read twice");
    for entry in entries {
        let line = entry.to_line();
        // Long texts are cut when they are written, and not again.
        let again = Entry::parse(line.trim_end().as_bytes()).map(|again| again.to_line());
        assert_eq!(again.as_deref(), Some(line.as_str()), "it reads back");
    }
}

/// Lists of unique ids and `X-UIDL` fields: every id is one that UIDL may answer with.
pub fn ids(octets: &[u8]) {
    match Ids::parse(octets) {
        Ok(Ids::ByNumber(ids)) => {
            assert!(ids.iter().all(|(number, id)| *number > 0 && is_id(id)));
        }
        Ok(Ids::ByName(ids)) => {
            assert!(ids.iter().all(|(name, id)| !name.contains(&b':') && is_id(id)));
        }
        Ok(Ids::OfHeaders) | Err(_) => {}
    }
    let Some((id, place)) = of_header(octets) else { return };
    assert!(is_id(&id), "an id");
    let Some((begin, end)) = place else { return };
    assert!(begin < end && end <= octets.len() as u64, "in the header");
    let before = usize::try_from(begin).map_or(octets, |begin| &octets[..begin]);
    assert!(before.is_empty() || before.ends_with(b"\n"), "from the beginning of a line");
}
