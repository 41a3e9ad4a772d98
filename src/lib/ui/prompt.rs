//! Asking for secrets: on the terminal without echo, from standard input, or made here.

use crate::secret::Secret;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// Letters and digits that are not mistaken for one another; 32, so that five random bits choose one.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// 120 bits.
const GENERATED: usize = 24;

/// Longer than any secret that is accepted, shorter than what could fill memory.
const MOST_INPUT: u64 = 4096;

/// Why there is no secret.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The two answers differ.
    Mismatch,
    /// What was read is no secret; why.
    Unusable(&'static str),
    /// Nobody could be asked, or nothing was read; `Interrupted` when somebody pressed Ctrl-C.
    Failed(io::Error),
}

/// Asks twice on the terminal, without echo.
///
/// # Errors
/// There is no terminal, or the answers differ.
pub(crate) fn new_secret() -> Result<Secret, Refusal> {
    let first = ask("New password: ")?;
    let second = ask("Retype new password: ")?;
    if first == second { Ok(first) } else { Err(Refusal::Mismatch) }
}

/// Asks once on the terminal, without echo.
///
/// # Errors
/// There is no terminal.
pub(crate) fn secret(prompt: &str) -> Result<Secret, Refusal> {
    ask(prompt)
}

fn ask(prompt: &str) -> Result<Secret, Refusal> {
    let answer = rpassword::prompt_password(prompt).map_err(Refusal::Failed)?;
    Ok(Secret::new(answer.into_bytes()))
}

/// Asks a question on the terminal whose answer is yes only when it begins with `y`. No terminal, no yes.
///
/// # Errors
/// The terminal cannot be used.
pub(crate) fn confirm(question: &str) -> io::Result<bool> {
    let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let mut answer = [0; 64];
    let count = terminal.read(&mut answer)?;
    Ok(answer[..count].first().is_some_and(|first| first.eq_ignore_ascii_case(&b'y')))
}

/// The one line of an input, without its end.
///
/// # Errors
/// It is empty, has more than one line, or cannot be read.
pub(crate) fn secret_from(input: impl Read) -> Result<Secret, Refusal> {
    // Read in one piece, so that growing leaves no copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST_INPUT).unwrap_or(4096) + 64));
    input.take(MOST_INPUT + 1).read_to_end(&mut octets).map_err(Refusal::Failed)?;
    let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        Err(Refusal::Unusable("standard input has no secret"))
    } else if line.contains(&b'\n') {
        Err(Refusal::Unusable("standard input has more than one line"))
    } else {
        Ok(Secret::new(line.to_vec()))
    }
}

/// A new secret of 24 characters out of random octets.
pub(crate) fn generate(random: &[u8; GENERATED]) -> Secret {
    Secret::new(random.iter().map(|octet| ALPHABET[usize::from(octet % 32)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Result<Secret, Refusal> {
        secret_from(input)
    }

    #[test]
    fn standard_input_is_one_line() {
        for input in ["secret one", "secret one\n", "secret one\r\n"] {
            assert_eq!(read(input.as_bytes()).unwrap().expose(), b"secret one", "{input:?}");
        }
        for input in ["", "\n", "\r\n", "one\ntwo\n"] {
            assert!(matches!(read(input.as_bytes()), Err(Refusal::Unusable(_))), "{input:?}");
        }
        assert_eq!(
            read(&[b'x'; 5000]).unwrap().expose().len(),
            4097,
            "the rules refuse it, memory is bounded"
        );
    }

    #[test]
    fn a_generated_secret_is_made_of_plain_characters() {
        let octets = std::array::from_fn(|at| u8::try_from(at * 11).unwrap_or(255));
        let secret = generate(&octets);
        assert_eq!(secret.expose().len(), 24);
        assert!(secret.expose().iter().all(|octet| ALPHABET.contains(octet)));
    }
}
