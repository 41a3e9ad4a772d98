//! PLAIN (RFC 4616): name and password as they are.

/// The longest password, in octets: what PASS can carry in a line of 255. Some hashes take time by the square of it.
pub const MAX_PASSWORD: usize = 248;

/// The message of the client.
#[derive(PartialEq, Eq)]
pub struct Message<'a> {
    /// As whom the client wants to act; empty for itself.
    pub authorization: &'a [u8],
    /// Whose password it is.
    pub name: &'a [u8],
    /// The password.
    pub password: &'a [u8],
}

/// The message in these octets: three parts with a NUL between (RFC 4616, section 2); neither name nor password is empty.
pub fn parse(message: &[u8]) -> Option<Message<'_>> {
    let mut parts = message.split(|&octet| octet == 0);
    let (authorization, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let complete = parts.next().is_none() && !name.is_empty() && !password.is_empty();
    (complete && password.len() <= MAX_PASSWORD).then_some(Message { authorization, name, password })
}
