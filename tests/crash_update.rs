//! Killed, or failing, at every call of an update that changes a file or passes work on: no message is lost, doubled or
//! torn (design, sections 4 and 8). `POPTOOLS_LONG=1` tries every victim at every call, and every way in which each call
//! can fail, in every case.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/record.rs"]
mod record;
#[path = "support/scenario.rs"]
mod scenario;
#[path = "support/tracer.rs"]
mod tracer;

use common::client::assert_same;
use common::{World, mail, root_or_skip};
use record::changes;
use scenario::{CASES, Case, Doing};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use tracer::{Call, Effect, Plan, Role, Traced};

const ROLES: [Role; 3] = [Role::Session, Role::Helper, Role::Monitor];

/// One fault.
struct Job {
    case: &'static Case,
    role: Role,
    nth: usize,
    effect: Effect,
    /// The number of the system call, for messages.
    call: i64,
}

impl Job {
    fn plan(&self, counts: fn(&Call) -> bool) -> Plan {
        Plan { role: self.role, nth: self.nth, counts, effect: self.effect, record: false }
    }

    fn name(&self) -> String {
        let Self { case, role, nth, effect, call } = self;
        format!("{}: {effect:?} at call {nth} (system call {call}) of {role:?}", case.name)
    }
}

const NOTHING: Plan =
    Plan { role: Role::Login, nth: 0, counts: changes, effect: Effect::None, record: false };

/// How many calls each role makes in each case that count.
fn points(counts: fn(&Call) -> bool, cases: &[&'static Case]) -> Vec<(&'static Case, Role, usize)> {
    let found = Mutex::new(Vec::new());
    scenario::for_each_job(cases, |world, ids, case| {
        let (reply, traced) = scenario::update(world, case, Plan { counts, ..NOTHING });
        assert!(scenario::check(world, case, ids, case.name, reply.as_deref()), "{}: {reply:?}", case.name);
        for role in ROLES {
            let calls = traced.calls.iter().filter(|call| call.counts && call.role == role).count();
            found.lock().unwrap().push((*case, role, calls));
        }
    });
    found.into_inner().unwrap()
}

/// Tells how many faults met the update, by role, and fails when hardly any did.
fn report(what: &str, met: &BTreeMap<String, (usize, usize)>) {
    for (role, (met, made)) in met {
        eprintln!("{what}: {role}: {made} faults, {met} met");
        assert!(*met * 10 >= *made * 9, "{what}: {role}: the faults miss the update");
    }
}

fn count(met: &Mutex<BTreeMap<String, (usize, usize)>>, role: Role, hit: bool) {
    let mut met = met.lock().unwrap();
    let entry = met.entry(format!("{role:?}")).or_default();
    entry.0 += usize::from(hit);
    entry.1 += 1;
}

#[test]
fn killed_at_any_call_of_an_update_no_message_is_lost() {
    if !root_or_skip() {
        return;
    }
    let cases: Vec<&Case> = CASES.iter().collect();
    let mut jobs = Vec::new();
    for (case, role, calls) in points(changes, &cases) {
        for nth in 1..=calls {
            let others = ROLES.into_iter().filter(|other| *other != role);
            // Who else dies at this moment changes from call to call; the longer run takes all.
            let others: Vec<Role> = others
                .enumerate()
                .filter(|(place, _)| scenario::long_run() || nth % 4 == *place)
                .map(|(_, other)| other)
                .collect();
            let victims = [role].into_iter().chain(others).map(Effect::Kill).chain([Effect::KillAll]);
            jobs.extend(victims.map(|effect| Job { case, role, nth, effect, call: 0 }));
        }
    }
    let met = Mutex::new(BTreeMap::new());
    scenario::for_each_job(&jobs, |world, ids, job| {
        let _doing = Doing(job.name());
        let (reply, traced) = scenario::update(world, job.case, job.plan(changes));
        count(&met, job.role, traced.met);
        scenario::check(world, job.case, ids, &job.name(), reply.as_deref());
    });
    report("killed in an update", &met.into_inner().unwrap());
}

/// A login: its name, and what is done before it.
type Login = (&'static str, fn(&World));

/// What a login finds: no index, one that has to grow, one that is damaged, or what a killed update left.
const LOGINS: [Login; 3] = [
    ("no index", |_| ()),
    ("mail came since", |world| {
        world.log_in("ann").quit();
        scenario::deliver(&world.mailbox("ann"), &mail::message(scenario::COUNT + 1));
    }),
    ("a damaged index", |world| {
        world.log_in("ann").quit();
        let index = scenario::state_directory().join("index");
        let mut octets = fs::read(&index).unwrap();
        octets[20] ^= 1;
        fs::write(&index, octets).unwrap();
    }),
];

/// A fault at a login.
struct LoginJob {
    login: usize,
    role: Role,
    nth: usize,
    effect: Effect,
    /// The number of the system call, for messages.
    call: i64,
}

/// A login under the plan; everything must be there for the next one.
fn faulty_login(world: &World, ids: &[String], job: &LoginJob, counts: fn(&Call) -> bool) -> Traced {
    let LoginJob { login, role, nth, effect, call } = *job;
    let (name, prepare) = LOGINS[login];
    let what = format!("login, {name}: {effect:?} at call {nth} (system call {call}) of {role:?}");
    let _doing = Doing(what.clone());
    scenario::clean(world);
    world.maildrop("ann", &mail::mbox(&scenario::messages()));
    prepare(world);
    let before = world.stored("ann");
    let (reply, traced) = scenario::login(world, Plan { role, nth, counts, effect, record: false });
    if let Some(reply) = &reply {
        assert!(reply.starts_with("+OK") || reply.starts_with("-ERR [SYS/"), "{what}: {reply}");
    }
    assert_same(&format!("{what}: a login changes no mail"), &world.stored("ann"), &before);
    let mut expected = scenario::messages();
    expected.extend((login == 1).then(|| mail::message(scenario::COUNT + 1)));
    scenario::deliver(&world.mailbox("ann"), &mail::message(scenario::COUNT + 2));
    expected.push(mail::message(scenario::COUNT + 2));
    scenario::look_through(world, &expected, &ids.iter().collect::<Vec<_>>(), &what);
    traced
}

/// How many calls each role makes in each login that count.
fn login_points(counts: fn(&Call) -> bool) -> Vec<(usize, Role, usize)> {
    let found = Mutex::new(Vec::new());
    let logins: Vec<usize> = (0..LOGINS.len()).collect();
    scenario::for_each_job(&logins, |world, ids, login| {
        let nothing = LoginJob { login: *login, role: Role::Login, nth: 0, effect: Effect::None, call: 0 };
        let traced = faulty_login(world, ids, &nothing, counts);
        for role in ROLES {
            let calls = traced.calls.iter().filter(|call| call.counts && call.role == role).count();
            found.lock().unwrap().push((*login, role, calls));
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn killed_at_any_call_of_a_login_the_index_misleads_nobody() {
    if !root_or_skip() {
        return;
    }
    let mut jobs = Vec::new();
    for (login, role, calls) in login_points(changes) {
        for nth in 1..=calls {
            let effects = [Effect::Kill(role), Effect::KillAll];
            jobs.extend(effects.map(|effect| LoginJob { login, role, nth, effect, call: 0 }));
        }
    }
    let met = Mutex::new(BTreeMap::new());
    scenario::for_each_job(&jobs, |world, ids, job| {
        count(&met, job.role, faulty_login(world, ids, job, changes).met);
    });
    report("killed in a login", &met.into_inner().unwrap());
}

/// What a call may fail with on a machine that is short of something; none for calls that this test leaves alone.
fn failures(call: &Call) -> Vec<Effect> {
    use libc::{EAGAIN, EDQUOT, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC};
    let creates = call.number == libc::SYS_openat && changes(call);
    let numbers: &[i32] = match call.number {
        libc::SYS_openat if creates => &[ENOSPC, EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, EINTR],
        libc::SYS_openat | libc::SYS_memfd_create => &[EMFILE, ENFILE, ENOMEM, EIO],
        libc::SYS_write | libc::SYS_pwrite64 if changes(call) => &[ENOSPC, EDQUOT, EIO, EINTR],
        libc::SYS_pread64 | libc::SYS_read => &[EIO, EINTR, ENOMEM],
        libc::SYS_copy_file_range => &[ENOSPC, EDQUOT, EIO, ENOMEM, EINTR],
        libc::SYS_fsync | libc::SYS_fdatasync => &[EIO, ENOSPC, EDQUOT],
        libc::SYS_ftruncate => &[EIO, EINTR],
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_unlinkat => &[ENOSPC, EDQUOT, EIO, ENOMEM],
        libc::SYS_fchown | libc::SYS_fchmod | libc::SYS_utimensat => &[EIO, EDQUOT, ENOMEM],
        libc::SYS_fsetxattr | libc::SYS_fremovexattr | libc::SYS_fgetxattr | libc::SYS_flistxattr => {
            &[ENOSPC, EIO, ENOMEM]
        }
        libc::SYS_fstat | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_getdents64 => &[EIO, ENOMEM],
        libc::SYS_fcntl => &[EMFILE, ENOMEM, EINTR],
        libc::SYS_socketpair => &[EMFILE, ENFILE, ENOMEM],
        libc::SYS_clone => &[EAGAIN, ENOMEM],
        libc::SYS_sendmsg | libc::SYS_recvmsg => &[EINTR, ENOMEM],
        libc::SYS_poll | libc::SYS_ppoll => &[EINTR, ENOMEM],
        libc::SYS_mmap | libc::SYS_brk => &[ENOMEM],
        _ => &[],
    };
    let short = matches!(
        call.number,
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_copy_file_range | libc::SYS_pread64
    );
    let short = short.then_some(Effect::Short);
    numbers.iter().map(|number| Effect::Fail(*number)).chain(short.filter(|_| !numbers.is_empty())).collect()
}

fn may_fail(call: &Call) -> bool {
    !failures(call).is_empty()
}

/// Who made the calls that may fail, and how each may.
fn fallible(traced: &Traced) -> Vec<(Role, i64, Vec<Effect>)> {
    let counted = traced.calls.iter().filter(|call| call.counts);
    counted.map(|call| (call.role, call.number, failures(call))).collect()
}

/// The faults of one call: all in the longer run, else one in every third case, another one each time.
fn some_of(effects: Vec<Effect>, turn: usize) -> Vec<Effect> {
    if scenario::long_run() || effects.is_empty() {
        return effects;
    }
    if !turn.is_multiple_of(3) {
        return Vec::new();
    }
    let place = turn / 3 % effects.len();
    vec![effects[place]]
}

#[test]
fn an_update_in_which_any_call_fails_changes_nothing_or_is_made() {
    if !root_or_skip() {
        return;
    }
    let cases: Vec<&Case> = CASES.iter().collect();
    let calls = Mutex::new(Vec::new());
    scenario::for_each_job(&cases, |world, ids, case| {
        let plan = Plan { counts: may_fail, ..NOTHING };
        let (reply, traced) = scenario::update(world, case, plan);
        assert!(scenario::check(world, case, ids, case.name, reply.as_deref()), "{}: {reply:?}", case.name);
        calls.lock().unwrap().push((*case, fallible(&traced)));
    });
    let mut jobs = Vec::new();
    for (turn, (case, seen)) in calls.into_inner().unwrap().into_iter().enumerate() {
        for role in ROLES {
            let own = seen.iter().filter(|(by, ..)| *by == role);
            for (nth, (_, call, effects)) in (1..).zip(own) {
                let effects = some_of(effects.clone(), turn + nth);
                jobs.extend(effects.into_iter().map(|effect| Job { case, role, nth, effect, call: *call }));
            }
        }
    }
    let met = Mutex::new(BTreeMap::new());
    scenario::for_each_job(&jobs, |world, ids, job| {
        let _doing = Doing(job.name());
        let (reply, traced) = scenario::update(world, job.case, job.plan(may_fail));
        count(&met, job.role, traced.met);
        let what = job.name();
        if let Some(reply) = reply.as_ref().filter(|reply| !reply.starts_with("+OK")) {
            assert!(reply.starts_with("-ERR [SYS/"), "{what}: {reply}");
        }
        scenario::check(world, job.case, ids, &what, reply.as_deref());
    });
    report("failing in an update", &met.into_inner().unwrap());
}

#[test]
fn a_login_in_which_any_call_fails_is_refused_or_works() {
    if !root_or_skip() {
        return;
    }
    let logins: Vec<usize> = (0..LOGINS.len()).collect();
    let calls = Mutex::new(Vec::new());
    scenario::for_each_job(&logins, |world, ids, login| {
        let nothing = LoginJob { login: *login, role: Role::Login, nth: 0, effect: Effect::None, call: 0 };
        calls.lock().unwrap().push((*login, fallible(&faulty_login(world, ids, &nothing, may_fail))));
    });
    let mut jobs = Vec::new();
    for (login, seen) in calls.into_inner().unwrap() {
        for role in ROLES {
            let own = seen.iter().filter(|(by, ..)| *by == role);
            for (nth, (_, call, effects)) in (1..).zip(own) {
                let effects = some_of(effects.clone(), 3 * (login + nth));
                jobs.extend(effects.into_iter().map(|effect| LoginJob {
                    login,
                    role,
                    nth,
                    effect,
                    call: *call,
                }));
            }
        }
    }
    let met = Mutex::new(BTreeMap::new());
    scenario::for_each_job(&jobs, |world, ids, job| {
        count(&met, job.role, faulty_login(world, ids, job, may_fail).met);
    });
    report("failing in a login", &met.into_inner().unwrap());
}
