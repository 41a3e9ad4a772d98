//! What calls change in the file system, with what they change it to.

use super::tracer::Call;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

/// A file or directory, whatever its name.
pub(crate) type Node = (u64, u64);

/// One change of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A name was made for a new file.
    Create {
        directory: Node,
        name: String,
        file: Node,
    },
    Write {
        file: Node,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        file: Node,
        length: u64,
    },
    /// Mode, owner, times, attributes.
    Dress {
        file: Node,
    },
    Sync {
        node: Node,
    },
    Rename {
        directory: Node,
        from: String,
        into: Node,
        to: String,
    },
    Remove {
        directory: Node,
        name: String,
    },
}

/// Whether a call changes files, or passes work from one process to another.
// Who watches reads uses the rest of this alone.
#[allow(dead_code)]
pub(crate) fn changes(call: &Call) -> bool {
    let third = call.arguments[2];
    match call.number {
        libc::SYS_openat => third & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0,
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 | libc::SYS_pwritev => call.to_file,
        libc::SYS_copy_file_range
        | libc::SYS_ftruncate
        | libc::SYS_fallocate
        | libc::SYS_fsync
        | libc::SYS_fdatasync
        | libc::SYS_rename
        | libc::SYS_renameat
        | libc::SYS_renameat2
        | libc::SYS_unlink
        | libc::SYS_unlinkat
        | libc::SYS_link
        | libc::SYS_linkat
        | libc::SYS_mkdir
        | libc::SYS_mkdirat
        | libc::SYS_fchown
        | libc::SYS_fchownat
        | libc::SYS_fchmod
        | libc::SYS_fchmodat
        | libc::SYS_utimensat
        | libc::SYS_fsetxattr
        | libc::SYS_fremovexattr
        | libc::SYS_sendmsg
        | libc::SYS_sendto
        | libc::SYS_clone => true,
        // Locks and leases.
        libc::SYS_fcntl => matches!(
            i32::try_from(call.arguments[1]).unwrap_or(0),
            libc::F_OFD_SETLK | libc::F_SETLK | libc::F_SETLKW | libc::F_SETLEASE
        ),
        _ => false,
    }
}

fn descriptor(pid: u32, number: u64) -> String {
    format!("/proc/{pid}/fd/{}", number & 0xffff_ffff)
}

/// Whether this call is about to write to a file, and not to a socket.
pub(crate) fn writes_to_file(pid: u32, call: i64, number: u64) -> bool {
    let writes = [libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64, libc::SYS_pwritev];
    writes.contains(&call) && fs::metadata(descriptor(pid, number)).is_ok_and(|found| found.is_file())
}

fn node(pid: u32, number: u64) -> Option<Node> {
    fs::metadata(descriptor(pid, number)).ok().map(|found| (found.dev(), found.ino()))
}

fn memory(pid: u32, address: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut read = 0;
    // A name may stand near the end of a page.
    while read < length {
        match memory.read_at(&mut data[read..], address + read as u64) {
            Ok(count @ 1..) => read += count,
            _ => break,
        }
    }
    data.truncate(read);
    data
}

fn name(call: &Call, place: usize) -> String {
    let octets = memory(call.pid, call.arguments[place], 256);
    let end = octets.iter().position(|&octet| octet == 0).unwrap_or(octets.len());
    String::from_utf8_lossy(&octets[..end]).into_owned()
}

/// What a call that was made has changed. Names are relative to open directories: the server names files in no other
/// way once it works on a maildrop.
pub(crate) fn note(call: &Call) -> Option<Operation> {
    let [first, _, third, fourth, ..] = call.arguments;
    let pid = call.pid;
    let result = u64::try_from(call.result?).ok()?;
    Some(match call.number {
        libc::SYS_openat if third & libc::O_CREAT as u64 != 0 => {
            Operation::Create { directory: node(pid, first)?, name: name(call, 1), file: node(pid, result)? }
        }
        libc::SYS_write if call.to_file => {
            let position = fs::read_to_string(format!("/proc/{pid}/fdinfo/{first}")).ok()?;
            let position: u64 = position.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
            let data = memory(pid, call.arguments[1], usize::try_from(result).ok()?);
            // Files of the kernel's, in /proc, have no position.
            let offset = position.checked_sub(result)?;
            Operation::Write { file: node(pid, first)?, offset, data }
        }
        libc::SYS_pwrite64 => Operation::Write {
            file: node(pid, first)?,
            offset: fourth,
            data: memory(pid, call.arguments[1], usize::try_from(result).ok()?),
        },
        libc::SYS_copy_file_range => copied(call, result)?,
        libc::SYS_ftruncate => Operation::Truncate { file: node(pid, first)?, length: call.arguments[1] },
        libc::SYS_fchown
        | libc::SYS_fchmod
        | libc::SYS_fsetxattr
        | libc::SYS_fremovexattr
        | libc::SYS_utimensat => Operation::Dress { file: node(pid, first)? },
        libc::SYS_fsync | libc::SYS_fdatasync => Operation::Sync { node: node(pid, first)? },
        libc::SYS_renameat | libc::SYS_renameat2 => {
            let (directory, into) = (node(pid, first)?, node(pid, third)?);
            Operation::Rename { directory, from: name(call, 1), into, to: name(call, 3) }
        }
        libc::SYS_unlinkat => Operation::Remove { directory: node(pid, first)?, name: name(call, 1) },
        _ => return None,
    })
}

/// The kernel has moved the target's offset behind what it copied; the data stand in the file.
fn copied(call: &Call, result: u64) -> Option<Operation> {
    let end = memory(call.pid, call.arguments[3], 8);
    let end = u64::from_ne_bytes(end.try_into().ok()?);
    let mut data = vec![0; usize::try_from(result).ok()?];
    let file = fs::File::open(descriptor(call.pid, call.arguments[2])).ok()?;
    file.read_exact_at(&mut data, end - result).ok()?;
    Some(Operation::Write { file: node(call.pid, call.arguments[2])?, offset: end - result, data })
}
