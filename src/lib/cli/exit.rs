//! What clap wants said, as data: the caller knows whether there is somebody to say it to.

use clap::error::ErrorKind;

/// The program ends before it begins: help, version, or a wrong command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The text, with its line ends, without colour.
    pub(crate) text: String,
    /// The exit status (`sysexits.h`): 0 for help and version, 64 for a wrong command line.
    pub(crate) status: u8,
}

impl Exit {
    /// Whether the text is what was asked for, and so for standard output.
    pub(crate) const fn was_asked_for(&self) -> bool {
        self.status == 0
    }
}

impl From<clap::Error> for Exit {
    /// The one place where clap's own exit status 2 becomes 64 (EX_USAGE).
    fn from(error: clap::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
            _ => 64,
        };
        Self { text: error.render().to_string(), status }
    }
}
