//! The log. There is one for the process: these tests take turns.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qcow2blk::{clear_log, set_log, Level};

use crate::support::{errno_of, eventually, Attached, Outcome, EDEADLK};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    crate::support::start();
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

type Lines = Arc<Mutex<Vec<(Level, String)>>>;

fn collect(level: Level) -> qcow2blk::Result<Lines> {
    let lines = Lines::default();
    let inner = Arc::clone(&lines);
    set_log(level, move |level, line| inner.lock().expect("no panic").push((level, line.to_owned())))?;
    Ok(lines)
}

/// Something that is always worth a line.
fn attach_and_detach(name: &str) -> Outcome {
    let attached = Attached::new("plain.qcow2", name);
    attached.device.close()?;
    Ok(())
}

#[test]
fn what_happens_is_told() -> Outcome {
    let _turn = turn();
    let lines = collect(Level::Debug)?;
    attach_and_detach("t500-told")?;
    clear_log()?;
    let lines = lines.lock().expect("no panic");
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|(_, line)| !line.is_empty() && !line.ends_with('\n')), "{lines:?}");
    Ok(())
}

#[test]
fn level_leaves_lines_out() -> Outcome {
    let _turn = turn();
    let lines = collect(Level::Warning)?;
    attach_and_detach("t500-level")?;
    clear_log()?;
    assert!(lines.lock().expect("no panic").iter().all(|(level, _)| *level <= Level::Warning));
    Ok(())
}

#[test]
fn nothing_is_told_after_the_end() -> Outcome {
    let _turn = turn();
    let lines = collect(Level::Debug)?;
    clear_log()?;
    assert_eq!(Arc::strong_count(&lines), 1, "the closure is gone");
    lines.lock().expect("no panic").clear();
    attach_and_detach("t500-end")?;
    assert!(lines.lock().expect("no panic").is_empty());
    clear_log()?;
    Ok(())
}

#[test]
fn another_closure_takes_the_place_of_the_first() -> Outcome {
    let _turn = turn();
    let first = collect(Level::Debug)?;
    let second = collect(Level::Debug)?;
    assert_eq!(Arc::strong_count(&first), 1, "the first closure is gone");
    attach_and_detach("t500-second")?;
    clear_log()?;
    assert!(!second.lock().expect("no panic").is_empty());
    Ok(())
}

#[test]
fn closure_cannot_change_the_log() -> Outcome {
    let _turn = turn();
    let (sender, results) = channel();
    set_log(Level::Debug, move |_, _| {
        let errnos = [errno_of(clear_log()), errno_of(set_log(Level::Debug, |_, _| ()))];
        let _ = sender.send(errnos);
    })?;
    attach_and_detach("t500-change")?;
    clear_log()?;
    assert_eq!(results.recv()?, [EDEADLK; 2]);
    Ok(())
}

#[test]
fn panic_of_the_closure_ends_nothing_else() -> Outcome {
    let _turn = turn();
    let calls = Arc::new(Mutex::new(0));
    let inner = Arc::clone(&calls);
    set_log(Level::Debug, move |_, _| {
        *inner.lock().expect("it is released before the panic") += 1;
        panic!("this panic is part of the test");
    })?;
    let mut round = 0;
    eventually("two lines are told", || {
        round += 1;
        attach_and_detach(&format!("t500-panic-{round}")).expect("it goes on");
        *calls.lock().expect("no panic") > 1
    });
    clear_log()?;
    Ok(())
}
