//! The program that the kernel asks at each system call.
//!
//! seccompiler tests one number after the other. The kernel runs a new filter once for every number there is, to remember which
//! calls need no filter: with a hundred tests in a row that costs a login more than its fork. So the numbers are cut into short
//! runs, each with a program of seccompiler's, and halving leads to the run.

use super::Rules;
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch, sock_filter};

/// Numbers in a run.
const RUN: usize = 4;

/// A run of numbers: the first, and the program for all from there to the next run.
type Run = (u32, BpfProgram);

/// A program that allows what the rules say; other calls fail with EPERM.
pub(super) fn compile(rules: Rules, architecture: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut left = rules.into_iter().peekable();
    let mut runs: Vec<Run> = Vec::new();
    while let Some((first, _)) = left.peek() {
        let first = u32::try_from(*first).map_err(|_| BackendError::InvalidArgumentNumber)?;
        runs.push((first, straight(left.by_ref().take(RUN).collect(), architecture)?));
    }
    // The kernel's description of a call begins with its number, of 32 bits.
    let load = sock_filter { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: 0 };
    Ok([vec![load], halve(&runs)?].concat())
}

/// One test after the other. It looks at the architecture first.
pub(super) fn straight(rules: Rules, architecture: TargetArch) -> Result<BpfProgram, BackendError> {
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?.try_into()
}

/// From the number in the accumulator to its run. A number of no run ends in one that does not know it.
fn halve(runs: &[Run]) -> Result<BpfProgram, BackendError> {
    if let [(_, program)] = runs {
        return Ok(program.clone());
    }
    let (lower, upper) = runs.split_at(runs.len() / 2);
    let Some((first, _)) = upper.first() else { return Err(BackendError::InvalidArgumentNumber) };
    let (below, above) = (halve(lower)?, halve(upper)?);
    let over = u32::try_from(below.len()).map_err(|_| BackendError::InvalidArgumentNumber)?;
    let compare = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let split = [
        // A conditional jump reaches 255 instructions, the other one any.
        sock_filter { code: code(compare), jt: 0, jf: 1, k: *first },
        sock_filter { code: code(libc::BPF_JMP | libc::BPF_JA), jt: 0, jf: 0, k: over },
    ];
    Ok([&split[..], &below, &above].concat())
}

/// Codes of instructions have 16 bits, whatever the type of the constants.
fn code(parts: u32) -> u16 {
    u16::try_from(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Calls, rules};
    use super::*;

    /// What the program answers for a call with these words of 32 bits, and in how many steps.
    fn run(program: &[sock_filter], words: &[u32; 16]) -> (u32, usize) {
        let (mut at, mut value, mut steps) = (0, 0_u32, 0);
        loop {
            let one = &program[at];
            let (yes, no) = (usize::from(one.jt), usize::from(one.jf));
            steps += 1;
            at += 1 + match one.code {
                0x20 => {
                    value = words[one.k as usize / 4];
                    0
                }
                0x54 => {
                    value &= one.k;
                    0
                }
                0x05 => one.k as usize,
                0x15 => {
                    if value == one.k {
                        yes
                    } else {
                        no
                    }
                }
                0x25 => {
                    if value > one.k {
                        yes
                    } else {
                        no
                    }
                }
                0x35 => {
                    if value >= one.k {
                        yes
                    } else {
                        no
                    }
                }
                0x06 => return (one.k, steps),
                other => panic!("instruction {other:#x}"),
            };
        }
    }

    #[test]
    fn the_answers_are_those_of_one_test_after_the_other_in_fewer_steps() {
        let architecture: TargetArch = std::env::consts::ARCH.try_into().unwrap();
        let plain = straight(rules(Calls::ALL).unwrap(), architecture).unwrap();
        let quick = compile(rules(Calls::ALL).unwrap(), architecture).unwrap();
        // As the architecture test of the plain program has it.
        let known = plain.iter().find(|one| one.code == 0x15).unwrap().k;
        let (mut most, mut allowed) = (0, 0);
        for number in (0..1024).chain([1 << 30, (1 << 30) + 1, u32::MAX]) {
            for architecture in [known, known ^ 1] {
                for argument in [0, 1, 2, 3, 5, 1030, 0x4000, 0x80005] {
                    let mut words = [argument; 16];
                    (words[0], words[1]) = (number, architecture);
                    let (answer, steps) = run(&quick, &words);
                    assert_eq!(answer, run(&plain, &words).0, "call {number} with {argument}");
                    most = most.max(steps);
                    allowed += usize::from(answer == 0x7fff_0000);
                }
            }
        }
        assert!(allowed > 0, "something is allowed");
        assert!(most <= 80, "a call takes {most} steps");
    }
}
