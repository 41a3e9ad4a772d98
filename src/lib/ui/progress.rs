//! A bar that shows how far a long work has come. It is for people who wait: on a terminal's standard error alone.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter works than this show nothing, in steps.
const LEAST: u64 = 200;

/// A bar; it goes when this goes.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of so many steps, with a word for them.
    pub(crate) fn new(steps: usize, of: &'static str) -> Self {
        let steps = steps as u64;
        // It draws nothing when standard error is no terminal.
        let target =
            if steps < LEAST { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}, {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(of);
        Self(bar)
    }

    /// One step more is done.
    pub(crate) fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
