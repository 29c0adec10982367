//! A run whose parent is gone: nobody hears what it says, so it must not go on, least of all if it
//! hangs.

/// From now on, this process ends with the thread that started it.
#[cfg(target_os = "linux")]
pub fn end_with_parent() {
    // SAFETY: this sets a number of the kernel's for this process, and touches no memory.
    #[expect(unsafe_code, reason = "libc has no safe function for it")]
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    debug_assert_eq!(done, 0, "SIGKILL is a signal");
}

/// Elsewhere it runs to its end.
#[cfg(not(target_os = "linux"))]
pub fn end_with_parent() {}
