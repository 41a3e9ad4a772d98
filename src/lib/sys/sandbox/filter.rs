//! The program that the kernel asks at each system call.
//!
//! It halves its way to the number, in one instruction for each run of numbers with one answer. What it is made of costs each login:
//! the kernel translates every instruction of a new filter, and then runs the filter once for each number there is, to remember
//! which calls need no filter.

use super::{Condition, Rules};
use crate::error::{Error, Kind, Result};
use libc::sock_filter;
use std::io;

/// Where the kernel's description of a call has its number, its architecture and its first argument (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The architecture that the numbers are of (`AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64`, `AUDIT_ARCH_RISCV64`).
const OWN: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// Loads a word of the description.
const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;

/// A conditional jump passes over 255 instructions; so many are close enough, with some that may come in between.
const NEAR: usize = 240;

/// A program that allows what the rules say; other calls fail with EPERM. A call of another architecture, whose numbers mean
/// something else, ends the process.
///
/// # Errors
/// It is not known what the calls of this machine look like.
pub(super) fn compile(rules: &Rules) -> Result<Vec<sock_filter>> {
    let Some(own) = OWN else {
        return Err(Error::new(Kind::Permanent, "there is no system-call filter for this architecture"));
    };
    let mut program = Backward::default();
    let refuse = program.answer(libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs());
    let allow = program.answer(libc::SECCOMP_RET_ALLOW);
    let strange = program.answer(libc::SECCOMP_RET_KILL_PROCESS);
    // From each number on, until the next: where its answer is.
    let mut runs: Vec<(u32, Target)> = vec![(0, refuse)];
    for (number, ways) in rules {
        // Numbers of calls are small.
        let number = u32::try_from(*number).unwrap_or(u32::MAX);
        let answer = if ways.is_empty() { allow } else { program.any(ways, allow, refuse) };
        runs.pop_if(|(first, _)| *first == number);
        runs.push((number, answer));
        runs.push((number + 1, refuse));
    }
    runs.dedup_by_key(|(_, answer)| *answer);
    let first = program.halve(&runs);
    let first = program.load(NUMBER, first);
    let first = program.jump(libc::BPF_JEQ, own, first, strange);
    program.load(ARCHITECTURE, first);
    program.0.reverse();
    Ok(program.0)
}

/// Closes the filter around this process; false where the kernel has no filters.
///
/// # Errors
/// The kernel refuses.
pub(super) fn install(program: &[sock_filter]) -> io::Result<bool> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let described = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: seccomp(2) with these arguments reads the program, which is borrowed and as long as told, and writes nothing.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const described) };
    match io::Error::last_os_error() {
        _ if done == 0 => Ok(true),
        cause if matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => Ok(false),
        cause => Err(cause),
    }
}

/// A program that is written from its end to its beginning: jumps lead forward only, so that their targets are known.
#[derive(Default)]
struct Backward(Vec<sock_filter>);

/// An instruction, counted from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target(usize);

impl Backward {
    fn push(&mut self, code: u32, k: u32, yes: u8, no: u8) -> Target {
        // Codes have 16 bits, whatever the type of the constants.
        let code = u16::try_from(code).unwrap_or_default();
        self.0.push(sock_filter { code, jt: yes, jf: no, k });
        Target(self.0.len() - 1)
    }

    fn answer(&mut self, answer: u32) -> Target {
        self.push(libc::BPF_RET | libc::BPF_K, answer, 0, 0)
    }

    /// How many instructions lie between one that is written now and the target.
    fn distance(&self, to: Target) -> usize {
        self.0.len() - to.0 - 1
    }

    /// The target itself, or a jump to it that is close enough for a conditional one.
    fn near(&mut self, to: Target) -> Target {
        match self.distance(to) {
            ..=NEAR => to,
            far => self.push(libc::BPF_JMP | libc::BPF_JA, u32::try_from(far).unwrap_or_default(), 0, 0),
        }
    }

    /// Loads a word of the description and goes on at the target.
    fn load(&mut self, word: u32, then: Target) -> Target {
        self.fall_to(then);
        self.push(LOAD, word, 0, 0)
    }

    /// Makes the target the next instruction.
    fn fall_to(&mut self, then: Target) {
        let far = self.distance(then);
        if far > 0 {
            self.push(libc::BPF_JMP | libc::BPF_JA, u32::try_from(far).unwrap_or_default(), 0, 0);
        }
    }

    /// Compares what is loaded.
    fn jump(&mut self, how: u32, with: u32, yes: Target, no: Target) -> Target {
        let (yes, no) = (self.near(yes), self.near(no));
        let steps = |program: &Self, to| u8::try_from(program.distance(to)).unwrap_or_default();
        let (yes, no) = (steps(self, yes), steps(self, no));
        self.push(libc::BPF_JMP | how | libc::BPF_K, with, yes, no)
    }

    /// From the number that is loaded to the answer of its run.
    fn halve(&mut self, runs: &[(u32, Target)]) -> Target {
        match runs {
            [] => Target(0),
            [(_, answer)] => *answer,
            _ => {
                let (lower, upper) = runs.split_at(runs.len() / 2);
                let (above, below) = (self.halve(upper), self.halve(lower));
                self.jump(libc::BPF_JGE, upper[0].0, above, below)
            }
        }
    }

    /// One of the ways has to be good.
    fn any(&mut self, ways: &[Vec<Condition>], good: Target, bad: Target) -> Target {
        ways.iter().rev().fold(bad, |other, way| {
            way.iter().rev().fold(good, |then, condition| self.test(*condition, then, other))
        })
    }

    /// Where one goes on for whom this word is loaded already.
    fn behind_load(&self, of: u32, target: Target) -> Target {
        match self.0.get(target.0) {
            Some(one) if u32::from(one.code) == LOAD && one.k == of => Target(target.0 - 1),
            _ => target,
        }
    }

    fn test(&mut self, condition: Condition, good: Target, bad: Target) -> Target {
        // The lower half of an argument is the first on these little-endian machines.
        let low = |argument: u8| ARGUMENTS + 8 * u32::from(argument);
        let (Condition::Is(argument, _) | Condition::Within(argument, _) | Condition::Null(argument)) =
            condition;
        let other = self.behind_load(low(argument), bad);
        let tested = match condition {
            Condition::Is(_, value) => self.jump(libc::BPF_JEQ, value.cast_unsigned(), good, other),
            Condition::Within(_, bits) => self.jump(libc::BPF_JSET, (!bits).cast_unsigned(), other, good),
            Condition::Null(_) => {
                let upper = self.jump(libc::BPF_JEQ, 0, good, bad);
                let upper = self.load(low(argument) + 4, upper);
                self.jump(libc::BPF_JEQ, 0, upper, other)
            }
        };
        self.load(low(argument), tested)
    }
}

#[cfg(test)]
mod tests;
