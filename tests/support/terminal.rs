//! A program on a terminal of its own, typed to.

use std::path::Path;
use std::process::Command;

/// argv: a count, as many prompts with their answers, a program with its arguments. Prints what the terminal showed.
const TERMINAL: &str = "\
import os, pty, sys, termios, time
count = int(sys.argv[1])
talk, program = sys.argv[2:2 + 2 * count], sys.argv[2 + 2 * count:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(program[0], program)
shown = at = 0
seen = b''
def more():
    global seen
    try:
        part = os.read(fd, 4096)
    except OSError:
        part = b''
    seen += part
    return bool(part)
while talk:
    prompt, answer = talk[0].encode(), talk[1].encode()
    while seen.find(prompt, at) < 0:
        if not more():
            sys.exit('no prompt ' + talk[0] + ' in ' + repr(seen))
    at = seen.find(prompt, at) + len(prompt)
    while b'password' in prompt.lower() and termios.tcgetattr(fd)[3] & termios.ECHO:
        time.sleep(0.001)
    os.write(fd, answer + b'\\n')
    talk = talk[2:]
while more():
    pass
sys.stdout.buffer.write(seen)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// The command that runs `program` on a terminal and types an answer after each prompt. After a prompt for a password it waits
/// until the terminal does not echo. Its output is what the terminal showed, its exit status the program's. It needs python3.
pub(crate) fn on_a_terminal(program: &Path, talk: &[(&str, &str)]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL]).arg(talk.len().to_string());
    command.args(talk.iter().flat_map(|(prompt, answer)| [*prompt, *answer])).arg(program);
    command
}
