//! The log. There is one for the process: these tests take turns.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qcow2blk::{clear_log, set_log, Image, Level};

use crate::support::{errno_of, Attached, Folder, Outcome, EDEADLK, EIO};

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

/// Makes an image say that its first cluster is where its refcount table is. Writing there is refused, and told.
fn hit_damage() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let mut bytes = std::fs::read(&path)?;
    let number = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let (l1_table, refcount_table) = (number(&bytes, 40), number(&bytes, 48));
    let l2_table = number(&bytes, l1_table as usize) & 0x00ff_ffff_ffff_fe00;
    let entry = refcount_table | 1 << 63;
    bytes[l2_table as usize..][..8].copy_from_slice(&entry.to_be_bytes());
    std::fs::write(&path, bytes)?;

    let image = Image::open(&path)?;
    assert_eq!(errno_of(image.write_at(&[1; 4096], 0)), EIO);
    image.close().expect_err("it was damaged");
    Ok(())
}

#[test]
fn damage_is_told_as_an_error() -> Outcome {
    let _turn = turn();
    let lines = collect(Level::Error)?;
    hit_damage()?;
    clear_log()?;
    let lines = lines.lock().expect("no panic");
    assert!(lines.iter().any(|(level, line)| *level == Level::Error && line.contains("plain.qcow2")), "{lines:?}");
    assert!(lines.iter().all(|(_, line)| !line.is_empty() && !line.ends_with('\n')), "{lines:?}");
    Ok(())
}

/// Other tests attach images meanwhile, which is worth a line too: it is left out at a lower level.
#[test]
fn level_leaves_lines_out() -> Outcome {
    let _turn = turn();
    for (most, expects_more) in [(Level::Debug, true), (Level::Error, false)] {
        let lines = collect(most)?;
        Attached::new("plain.qcow2", &format!("t500-{most:?}")).device.close()?;
        clear_log()?;
        let lines = lines.lock().expect("no panic");
        assert_eq!(lines.iter().any(|(level, _)| *level > Level::Error), expects_more, "{lines:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_told_after_the_end() -> Outcome {
    let _turn = turn();
    let lines = collect(Level::Debug)?;
    clear_log()?;
    assert_eq!(Arc::strong_count(&lines), 1, "the closure is gone");
    let before = lines.lock().expect("no panic").len();
    clear_log()?;
    hit_damage()?;
    assert_eq!(lines.lock().expect("no panic").len(), before);
    Ok(())
}

#[test]
fn another_closure_takes_the_place_of_the_first() -> Outcome {
    let _turn = turn();
    let first = collect(Level::Error)?;
    let second = collect(Level::Error)?;
    assert_eq!(Arc::strong_count(&first), 1, "the first closure is gone");
    hit_damage()?;
    clear_log()?;
    assert!(!second.lock().expect("no panic").is_empty());
    Ok(())
}

#[test]
fn closure_cannot_change_the_log() -> Outcome {
    let _turn = turn();
    let (sender, results) = channel();
    set_log(Level::Error, move |_, _| {
        let errnos = [errno_of(clear_log()), errno_of(set_log(Level::Debug, |_, _| ()))];
        let _ = sender.send(errnos);
    })?;
    hit_damage()?;
    clear_log()?;
    assert_eq!(results.recv()?, [EDEADLK; 2]);
    Ok(())
}

/// The other thread waits for the closure to end, so the closure must not wait for the other thread.
#[test]
fn closure_is_refused_while_another_thread_ends_it() -> Outcome {
    let _turn = turn();
    let (sender, results) = channel();
    set_log(Level::Error, move |_, _| {
        let _ = sender.send(None);
        std::thread::sleep(Duration::from_millis(200));
        let _ = sender.send(Some(errno_of(clear_log())));
    })?;
    let told = std::thread::spawn(|| hit_damage().map_err(|error| error.to_string()));
    assert_eq!(results.recv_timeout(Duration::from_secs(20))?, None, "the closure runs");
    let ending = std::thread::spawn(clear_log);
    assert_eq!(results.recv_timeout(Duration::from_secs(20))?, Some(EDEADLK));
    ending.join().expect("no panic")?;
    told.join().expect("no panic")?;
    Ok(())
}

#[test]
fn panic_of_the_closure_ends_nothing_else() -> Outcome {
    let _turn = turn();
    let calls = Arc::new(AtomicU32::new(0));
    let inner = Arc::clone(&calls);
    set_log(Level::Error, move |_, _| {
        inner.fetch_add(1, Ordering::SeqCst);
        panic!("this panic is part of the test");
    })?;
    hit_damage()?;
    let after_the_first = calls.load(Ordering::SeqCst);
    hit_damage()?;
    clear_log()?;
    assert!(after_the_first > 0 && calls.load(Ordering::SeqCst) > after_the_first);
    Ok(())
}
