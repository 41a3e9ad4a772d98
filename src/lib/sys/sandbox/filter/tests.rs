use super::super::{Calls, rules};
use super::*;
use crate::process::{login, session};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What the program answers for a call with these words of 32 bits, and in how many steps.
fn run(program: &[(u16, u8, u8, u32)], words: &[u32; 16]) -> (u32, usize) {
    let (mut at, mut value, mut steps) = (0, 0_u32, 0);
    loop {
        let (code, yes, no, k) = program[at];
        let branch = |yes_or_no| usize::from(if yes_or_no { yes } else { no });
        steps += 1;
        at += 1 + match code {
            0x20 => {
                value = words[k as usize / 4];
                0
            }
            0x54 => {
                value &= k;
                0
            }
            0x05 => k as usize,
            0x15 => branch(value == k),
            0x25 => branch(value > k),
            0x35 => branch(value >= k),
            0x45 => branch(value & k != 0),
            0x06 => return (k, steps),
            other => panic!("instruction {other:#x}"),
        };
    }
}

/// The same rules by another compiler, which tests one number after the other.
fn by_seccompiler(rules: Rules) -> Vec<(u16, u8, u8, u32)> {
    let condition = |condition| match condition {
        Condition::Is(argument, value) => SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            u64::from(i32::cast_unsigned(value)),
        ),
        Condition::Within(argument, bits) => {
            let others = u64::from((!bits).cast_unsigned());
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(others), 0)
        }
        Condition::Null(argument) => {
            SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
        }
    };
    let rule = |way: Vec<Condition>| {
        SeccompRule::new(way.into_iter().map(|one| condition(one).unwrap()).collect()).unwrap()
    };
    let rules = rules.into_iter().map(|(call, ways)| (call, ways.into_iter().map(rule).collect())).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    program.into_iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect()
}

fn ours(rules: &Rules) -> Vec<(u16, u8, u8, u32)> {
    compile(rules).unwrap().into_iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect()
}

/// Two compilers that do not know each other mean the same by the rules, whatever is called with whatever arguments.
#[test]
fn the_answers_are_those_of_another_compiler_in_few_steps() {
    // Conditions that no role has together, more calls than a conditional jump passes over, and the roles.
    let many: Rules = (0..300)
        .map(|call| match call % 7 {
            0 => (call, Vec::new()),
            3 => (call, vec![vec![Condition::Is(1, 3), Condition::Within(2, 5)], vec![Condition::Null(1)]]),
            5 => (call, vec![vec![Condition::Null(0), Condition::Is(0, 0)], vec![Condition::Is(0, 2)]]),
            _ => (call, vec![vec![Condition::Within(0, 1)]]),
        })
        .collect();
    for (rules, most) in
        [(many, 40), (rules(Calls::ALL), 30), (rules(session::CALLS), 30), (rules(login::CALLS), 30)]
    {
        let (quick, plain) = (ours(&rules), by_seccompiler(rules));
        let own = OWN.unwrap();
        let (mut longest, mut allowed) = (0, 0);
        for number in (0..1024).chain([1 << 30, (1 << 30) + 1, u32::MAX]) {
            for architecture in [own, own ^ 1] {
                for argument in [0, 1, 2, 3, 5, 1024, 1030, 0x4000, 0x80005, 0x8000_0000] {
                    for other in [0, argument, 7] {
                        let mut words = [argument; 16];
                        words.iter_mut().skip(4).step_by(2).for_each(|word| *word = argument ^ other);
                        (words[0], words[1]) = (number, architecture);
                        let (answer, steps) = run(&quick, &words);
                        assert_eq!(answer, run(&plain, &words).0, "call {number} with {words:x?}");
                        longest = longest.max(steps);
                        allowed += usize::from(answer == libc::SECCOMP_RET_ALLOW);
                    }
                }
            }
        }
        assert!(allowed > 0, "something is allowed");
        assert!(longest <= most, "a call takes {longest} steps");
    }
}

/// The kernel translates each instruction at each login.
#[test]
fn the_program_of_a_session_is_short() {
    let (session, login) = (ours(&rules(session::CALLS)).len(), ours(&rules(login::CALLS)).len());
    assert!(session <= 130 && login <= 110, "{session} and {login} instructions");
}
