//! Linux-PAM (pam(3)): one question of authentication and account. All of the library's `unsafe` is in here.
//!
//! Modules do what they want with the process that asks: it should have nothing else to do.

use crate::secret::Secret;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io;
use std::ptr;

/// What a module may say; the rest is not kept.
const MOST_WORDS: usize = 10;

/// More messages at once than any module has (`PAM_MAX_NUM_MSG`).
const MOST_MESSAGES: c_int = 32;

#[repr(C)]
struct Handle {
    _opaque: [u8; 0],
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Talk = unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    talk: Talk,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_get_item(handle: *const Handle, item: c_int, value: *mut *const c_void) -> c_int;
}

// The numbers of Linux-PAM's `_pam_types.h`.
const SUCCESS: c_int = 0;
const BUF_ERR: c_int = 5;
const CONV_ERR: c_int = 19;
const DISALLOW_NULL_AUTHTOK: c_int = 1;
const SILENT: c_int = 0x8000;
const ITEM_USER: c_int = 2;
const ITEM_TTY: c_int = 3;
const ITEM_RHOST: c_int = 4;
const ITEM_FAIL_DELAY: c_int = 10;
const PROMPT_ECHO_OFF: c_int = 1;
const ERROR_MSG: c_int = 3;
const TEXT_INFO: c_int = 4;

/// The names of all results, as the manual pages have them without `PAM_`, in the letters of the log.
const NAMES: [&str; 32] = [
    "success",
    "open-err",
    "symbol-err",
    "service-err",
    "system-err",
    "buf-err",
    "perm-denied",
    "auth-err",
    "cred-insufficient",
    "authinfo-unavail",
    "user-unknown",
    "maxtries",
    "new-authtok-reqd",
    "acct-expired",
    "session-err",
    "cred-unavail",
    "cred-expired",
    "cred-err",
    "no-module-data",
    "conv-err",
    "authtok-err",
    "authtok-recovery-err",
    "authtok-lock-busy",
    "authtok-disable-aging",
    "try-again",
    "ignore",
    "abort",
    "authtok-expired",
    "module-unknown",
    "bad-item",
    "conv-again",
    "incomplete",
];

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The file in `/etc/pam.d`.
    pub(crate) service: &'a str,
    /// Who wants to come in.
    pub(crate) user: &'a str,
    /// What every prompt is answered with that hides what is typed.
    pub(crate) password: &'a Secret,
    /// Where the client comes from.
    pub(crate) client: &'a str,
}

/// What PAM says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The result of pam_authenticate(3).
    pub(crate) authentication: &'static str,
    /// That of pam_acct_mgmt(3), which is asked when the password is right.
    pub(crate) account: Option<&'static str>,
    /// Who came in: a module may map names.
    pub(crate) user: String,
    /// What modules said to the user.
    pub(crate) words: Vec<String>,
}

/// The conversation's memory.
struct Answers {
    password: CString,
    words: Vec<String>,
}

/// Asks PAM. Its delays after a wrong password are left out: others see to that.
///
/// # Errors
/// PAM cannot be started, or something that is asked has a NUL in it.
pub(crate) fn ask(question: Question<'_>) -> io::Result<Said> {
    let mut answers = Answers { password: CString::new(question.password.expose())?, words: Vec::new() };
    let conversation = Conversation { talk, data: (&raw mut answers).cast() };
    let (service, user) = (CString::new(question.service)?, CString::new(question.user)?);
    let client = CString::new(question.client)?;
    let mut handle: *mut Handle = ptr::null_mut();
    // SAFETY: all strings end in NUL and, like the conversation, outlive the handle, which pam_end gives back below.
    let started =
        unsafe { pam_start(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut handle) };
    if started != SUCCESS || handle.is_null() {
        return Err(io::Error::other(format!("PAM cannot be started: {}", name(started))));
    }
    // SAFETY: the handle is good until pam_end. PAM copies strings; of the delay function it keeps the address.
    let said = unsafe {
        let set = pam_set_item(handle, ITEM_RHOST, client.as_ptr().cast());
        // Some modules refuse who has no terminal.
        pam_set_item(handle, ITEM_TTY, c"pop3d".as_ptr().cast());
        pam_set_item(handle, ITEM_FAIL_DELAY, no_delay as *const c_void);
        let flags = SILENT | DISALLOW_NULL_AUTHTOK;
        let authentication = if set == SUCCESS { pam_authenticate(handle, flags) } else { set };
        let account = (authentication == SUCCESS).then(|| pam_acct_mgmt(handle, flags));
        let user = user_of(handle);
        pam_end(handle, account.unwrap_or(authentication));
        (authentication, account, user)
    };
    // What is dropped is overwritten while `memory::overwrite_freed` is on.
    Ok(Said {
        authentication: name(said.0),
        account: said.1.map(name),
        user: said.2.unwrap_or_else(|| question.user.to_owned()),
        words: answers.words,
    })
}

/// The name as modules left it.
///
/// # Safety
/// The handle is good.
unsafe fn user_of(handle: *const Handle) -> Option<String> {
    let mut item: *const c_void = ptr::null();
    // SAFETY: the caller's promise; the item is a string of the library's, which is copied at once.
    unsafe {
        let found = pam_get_item(handle, ITEM_USER, &raw mut item) == SUCCESS && !item.is_null();
        found.then(|| CStr::from_ptr(item.cast()).to_string_lossy().into_owned())
    }
}

fn name(code: c_int) -> &'static str {
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("unknown")
}

/// Delays are not taken here: this returns at once.
unsafe extern "C" fn no_delay(_: c_int, _: c_uint, _: *mut c_void) {}

/// The conversation (pam_conv(3)): the password for prompts that hide what is typed, nothing for messages, and an error for
/// any other question.
///
/// # Safety
/// As pam_conv(3): `count` messages, and `data` of [`ask`].
unsafe extern "C" fn talk(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Ok(length) = usize::try_from(count) else { return CONV_ERR };
    if !(1..=MOST_MESSAGES).contains(&count) || messages.is_null() || responses.is_null() || data.is_null() {
        return CONV_ERR;
    }
    // SAFETY: `data` is the address that `ask` gave, whose owner waits; modules call from that one thread.
    let answers = unsafe { &mut *data.cast::<Answers>() };
    // SAFETY: calloc's memory is zero, which is a response without text. PAM frees it with free(3).
    let all: *mut Response = unsafe { libc::calloc(length, size_of::<Response>()) }.cast();
    if all.is_null() {
        return BUF_ERR;
    }
    for index in 0..length {
        // SAFETY: there are `count` messages, in Linux-PAM's way: an array of pointers.
        let message = unsafe { &**messages.add(index) };
        // SAFETY: as above; a string or nothing.
        let text =
            (!message.text.is_null()).then(|| unsafe { CStr::from_ptr(message.text) }.to_string_lossy());
        match message.style {
            PROMPT_ECHO_OFF => {
                // SAFETY: index is below the length of `all`; the password ends in NUL.
                unsafe { (*all.add(index)).text = libc::strdup(answers.password.as_ptr()) };
            }
            ERROR_MSG | TEXT_INFO if answers.words.len() < MOST_WORDS => {
                answers.words.extend(text.map(|text| text.chars().take(500).collect::<String>()));
            }
            ERROR_MSG | TEXT_INFO => {}
            _ => {
                // SAFETY: what was allocated above, and nobody else has it.
                unsafe { give_back(all, length) };
                return CONV_ERR;
            }
        }
    }
    // SAFETY: checked above not to be null.
    unsafe { *responses = all };
    SUCCESS
}

/// Overwrites and frees responses that PAM does not get.
///
/// # Safety
/// `length` responses of calloc's, with texts of strdup's or none.
unsafe fn give_back(all: *mut Response, length: usize) {
    for index in 0..length {
        // SAFETY: the caller's promise; a text ends in NUL.
        unsafe {
            let text = (*all.add(index)).text;
            if !text.is_null() {
                libc::explicit_bzero(text.cast(), libc::strlen(text));
                libc::free(text.cast());
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { libc::free(all.cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converse(styles: &[c_int]) -> (c_int, Vec<Option<String>>, Vec<String>) {
        let mut answers = Answers { password: c"secret".to_owned(), words: Vec::new() };
        let messages: Vec<Message> =
            styles.iter().map(|style| Message { style: *style, text: c"text".as_ptr() }).collect();
        let mut pointers: Vec<*const Message> = messages.iter().map(ptr::from_ref).collect();
        let mut responses: *mut Response = ptr::null_mut();
        let count = c_int::try_from(styles.len()).unwrap();
        // SAFETY: as many messages as said, and all of it outlives the call.
        let code =
            unsafe { talk(count, pointers.as_mut_ptr(), &raw mut responses, (&raw mut answers).cast()) };
        let mut texts = Vec::new();
        if code == SUCCESS {
            for index in 0..styles.len() {
                // SAFETY: as many responses as messages; each text ends in NUL.
                let text = unsafe { (*responses.add(index)).text };
                // SAFETY: as above.
                texts.push(
                    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()),
                );
            }
            // SAFETY: made by `talk`.
            unsafe { give_back(responses, styles.len()) };
        }
        (code, texts, answers.words)
    }

    /// pam_conv(3): the password is for prompts without echo alone; a question that shows what is typed is refused.
    #[test]
    fn only_hidden_prompts_get_the_password() {
        let secret = Some("secret".to_owned());
        assert_eq!(converse(&[PROMPT_ECHO_OFF]), (SUCCESS, vec![secret.clone()], vec![]));
        let text = vec!["text".to_owned()];
        assert_eq!(converse(&[TEXT_INFO, PROMPT_ECHO_OFF]), (SUCCESS, vec![None, secret], text));
        const PROMPT_ECHO_ON: c_int = 2;
        assert_eq!(converse(&[PROMPT_ECHO_OFF, PROMPT_ECHO_ON]).0, CONV_ERR);
        assert_eq!(converse(&[]).0, CONV_ERR);
    }

    #[test]
    fn results_have_the_names_of_the_manual() {
        assert_eq!(
            [7, 10, 13, 31, 99, -1].map(name),
            ["auth-err", "user-unknown", "acct-expired", "incomplete", "unknown", "unknown"]
        );
    }
}
