//! A tracer: it follows every process of a connection from call to call, and at one chosen call kills processes,
//! lets the call fail, or shortens it. Faster than strace, and it knows the roles.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use super::common::world::POP3D_UID;
use super::common::{Client, PATIENCE, eventually, processes, within};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a process of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Monitor,
    Login,
    /// The verifier, which becomes the session.
    Session,
    Helper,
    /// A child of the verifier.
    Other,
}

/// What happens at the chosen call.
// Two functions are the same thing to do only when somebody made them one; nobody compares them.
#[allow(unpredictable_function_pointer_comparisons)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: calls are written down alone.
    None,
    /// The processes of one role end by SIGKILL before the call is made.
    Kill(Role),
    /// All of them do.
    KillAll,
    /// The call is not made and fails with this number.
    Fail(i32),
    /// The call is made for half of its octets.
    Short,
    /// This is done first, while the process waits.
    First(fn()),
}

/// A call as it is entered.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) role: Role,
    pub(crate) pid: u32,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
    /// Whether its first argument is a file's descriptor; looked at for calls that write.
    pub(crate) to_file: bool,
    /// Whether the plan counts calls like this one, whoever makes them.
    pub(crate) counts: bool,
    /// What it came to; none: its process ended in it, or nobody has seen its end.
    pub(crate) result: Option<i64>,
    /// What `note` said of it.
    pub(crate) note: Option<Note>,
}

/// What is known of a call once it is done: made by the recorder of a test.
pub(crate) type Note = super::record::Operation;

/// Which call is meant, and what happens there.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) role: Role,
    /// The number of the call among those that `counts`, from 1.
    pub(crate) nth: usize,
    /// Whether a call counts.
    pub(crate) counts: fn(&Call) -> bool,
    pub(crate) effect: Effect,
    /// Whether calls are noted with what they changed.
    pub(crate) record: bool,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    counted: usize,
    met: bool,
    stop: bool,
    calls: Vec<Call>,
    pids: HashMap<u32, Role>,
}

/// Follows the processes of a connection until they end.
pub(crate) struct Tracer {
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

/// What starts a server that can be traced. A process that waits for a child of its own takes away what the tracer waits for,
/// so the server is the child of a shell.
pub(crate) const WRAPPER: [&str; 4] = ["sh", "-c", "exec 2>/dev/null; \"$@\"; exit $?", "sh"];

impl Tracer {
    /// Takes hold of the processes of a connection that [`WRAPPER`] started; `session`: the one of them that is a session
    /// already.
    pub(crate) fn attach(client: &Client, session: Option<u32>) -> Self {
        let shell = client.server.pid();
        let monitor = eventually("the monitor", || {
            let found = processes::tree(shell).into_iter().find(|process| process.parent == shell);
            found.map(|process| process.pid)
        });
        let state = Arc::new(Mutex::new(State::default()));
        let (ready, attached) = std::sync::mpsc::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for process in processes::tree(monitor) {
                let role = match process.pid {
                    pid if pid == monitor => Role::Monitor,
                    pid if Some(pid) == session => Role::Session,
                    _ if process.uids.first() == Some(&POP3D_UID) => Role::Login,
                    _ => Role::Helper,
                };
                if seize(process.pid) {
                    shared.lock().unwrap().pids.insert(process.pid, role);
                }
            }
            let _ = ready.send(());
            Follower { state: &shared, inside: HashMap::new() }.follow();
        });
        attached.recv().unwrap();
        Self { state, thread: Some(thread) }
    }

    /// From now on calls are counted and written down.
    pub(crate) fn arm(&self, plan: Plan) {
        let mut state = self.state.lock().unwrap();
        state.calls.clear();
        state.counted = 0;
        state.plan = Some(plan);
    }

    /// Waits until every process has ended by itself.
    pub(crate) fn finish(mut self) -> Traced {
        let thread = self.thread.take().unwrap();
        let ended = within(PATIENCE, || thread.is_finished().then_some(())).is_some();
        if !ended {
            let left: Vec<u32> = self.state.lock().unwrap().pids.keys().copied().collect();
            let left: Vec<String> =
                left.into_iter().filter_map(processes::read).map(|process| process.describe()).collect();
            self.stop();
            panic!("processes stay behind the connection: {left:#?}");
        }
        thread.join().unwrap();
        let mut state = self.state.lock().unwrap();
        Traced { met: state.met, calls: std::mem::take(&mut state.calls) }
    }

    /// Lets go of what still runs.
    fn stop(&self) {
        let mut state = self.state.lock().unwrap();
        state.stop = true;
        for pid in state.pids.keys() {
            // It stops the process for the tracer, which keeps the signal to itself.
            processes::signal(*pid, Signal::SIGURG);
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What was seen.
pub(crate) struct Traced {
    /// Whether the chosen call was made.
    pub(crate) met: bool,
    pub(crate) calls: Vec<Call>,
}

fn ptrace(request: libc::c_uint, pid: u32, address: usize, data: usize) -> bool {
    // SAFETY: addresses are null or of live memory that the request may write to, as its caller says.
    unsafe { libc::ptrace(request, libc::pid_t::try_from(pid).unwrap(), address, data) >= 0 }
}

fn seize(pid: u32) -> bool {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE;
    let options = usize::try_from(options).unwrap();
    ptrace(libc::PTRACE_SEIZE, pid, 0, options) && ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0)
}

/// The tracing thread's own part.
struct Follower<'a> {
    state: &'a Mutex<State>,
    /// The call that a process is in: its place in the list, and the result that it shall have.
    inside: HashMap<u32, (Option<usize>, Option<i64>)>,
}

impl Follower<'_> {
    fn follow(mut self) {
        loop {
            let mut status = 0;
            // SAFETY: the kernel writes one number. Only this thread's tracees are waited for.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
            let Ok(pid) = u32::try_from(pid) else {
                // No tracee is left.
                if std::io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) {
                    return;
                }
                continue;
            };
            if libc::WIFSTOPPED(status) {
                self.stopped(pid, status);
            } else {
                self.state.lock().unwrap().pids.remove(&pid);
                self.inside.remove(&pid);
            }
        }
    }

    fn stopped(&mut self, pid: u32, status: i32) {
        self.introduce(pid);
        if self.state.lock().unwrap().stop {
            ptrace(libc::PTRACE_DETACH, pid, 0, 0);
            return;
        }
        let signal = libc::WSTOPSIG(status);
        let mut deliver = 0;
        if signal == libc::SIGTRAP | 0x80 {
            self.call(pid);
        } else if status >> 16 == 0 && signal != libc::SIGURG {
            deliver = usize::try_from(signal).unwrap();
        }
        ptrace(libc::PTRACE_SYSCALL, pid, 0, deliver);
    }

    /// Gives a new process its role.
    fn introduce(&self, pid: u32) {
        let mut state = self.state.lock().unwrap();
        if state.pids.contains_key(&pid) {
            return;
        }
        let parent = processes::read(pid).map_or(0, |process| process.parent);
        let of_monitor = state.pids.get(&parent) == Some(&Role::Monitor);
        let has_session = state.pids.values().any(|role| *role == Role::Session);
        let role = match (of_monitor, has_session) {
            (true, false) => Role::Session,
            (true, true) => Role::Helper,
            (false, _) => Role::Other,
        };
        state.pids.insert(pid, role);
    }

    fn call(&mut self, pid: u32) {
        let Some(info) = syscall_info(pid) else { return };
        match info.op {
            1 => self.enter(pid, &info),
            2 => self.leave(pid, info.words[0].cast_signed()),
            _ => {}
        }
    }

    fn enter(&mut self, pid: u32, info: &Info) {
        let mut state = self.state.lock().unwrap();
        let Some(plan) = state.plan else { return };
        let role = state.pids.get(&pid).copied().unwrap_or(Role::Other);
        let mut arguments = [0; 6];
        arguments.copy_from_slice(&info.words[1..7]);
        let number = info.words[0].cast_signed();
        let to_file = super::record::writes_to_file(pid, number, arguments[0]);
        let mut call =
            Call { role, pid, number, arguments, to_file, counts: false, result: None, note: None };
        call.counts = (plan.counts)(&call);
        let counts = role == plan.role && call.counts;
        let place = state.calls.len();
        state.calls.push(call);
        let mut result = None;
        if counts {
            state.counted += 1;
            if state.counted == plan.nth {
                state.met = true;
                result = strike(pid, plan.effect, &state.pids);
            }
        }
        self.inside.insert(pid, (Some(place), result));
    }

    fn leave(&mut self, pid: u32, result: i64) {
        let Some((place, forced)) = self.inside.remove(&pid) else { return };
        if let Some(forced) = forced {
            change(pid, |registers| registers.rax = forced.cast_unsigned());
        }
        let mut state = self.state.lock().unwrap();
        let record = state.plan.is_some_and(|plan| plan.record);
        if let Some(call) = place.and_then(|place| state.calls.get_mut(place)) {
            call.result = Some(forced.unwrap_or(result));
            if record && call.result.is_some_and(|result| result >= 0) {
                call.note = super::record::note(call);
            }
        }
    }
}

/// Lets the fault happen at the entry of a call; the result that the call shall have instead.
fn strike(pid: u32, effect: Effect, pids: &HashMap<u32, Role>) -> Option<i64> {
    match effect {
        Effect::None => {}
        Effect::Kill(victim) => {
            for (pid, _) in pids.iter().filter(|(_, role)| **role == victim) {
                processes::signal(*pid, Signal::SIGKILL);
            }
        }
        Effect::KillAll => pids.keys().for_each(|pid| processes::signal(*pid, Signal::SIGKILL)),
        Effect::Fail(number) => {
            // No call has this number: the kernel does nothing.
            change(pid, |registers| registers.orig_rax = u64::MAX);
            return Some(-i64::from(number));
        }
        Effect::First(what) => what(),
        Effect::Short => change(pid, |registers| {
            let copying = registers.orig_rax.cast_signed() == libc::SYS_copy_file_range;
            let count = if copying { &mut registers.r8 } else { &mut registers.rdx };
            *count = (*count / 2).max(1);
        }),
    }
    None
}

fn change(pid: u32, change: impl FnOnce(&mut libc::user_regs_struct)) {
    // SAFETY: registers are plain numbers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    if ptrace(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers) as usize) {
        change(&mut registers);
        ptrace(libc::PTRACE_SETREGS, pid, 0, (&raw mut registers) as usize);
    }
}

/// The beginning of the kernel's `struct ptrace_syscall_info`: 1 is an entry (number, six arguments), 2 an exit
/// (result).
#[repr(C)]
#[derive(Default)]
struct Info {
    op: u8,
    _padding: [u8; 3],
    _architecture: u32,
    _instruction: u64,
    _stack: u64,
    words: [u64; 8],
}

fn syscall_info(pid: u32) -> Option<Info> {
    /// `PTRACE_GET_SYSCALL_INFO` of ptrace(2).
    const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    let mut info = Info::default();
    let size = size_of::<Info>();
    ptrace(GET_SYSCALL_INFO, pid, size, (&raw mut info) as usize).then_some(info)
}
