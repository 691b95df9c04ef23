//! Hearing what happens to a device.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use qcow2blk::{Device, Event, EventKind, Image, State};

use crate::support::{errno_of, eventually, Attached, Outcome, EDEADLK};

fn listen(device: &Device) -> qcow2blk::Result<Receiver<Event>> {
    let (sender, receiver) = channel();
    device.set_events(move |event| {
        let _ = sender.send(event);
    })?;
    Ok(receiver)
}

/// Waits for a state; what else comes before it is passed over.
fn wait_for(events: &Receiver<Event>, state: State) {
    loop {
        let event = events.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{state:?} was not told"));
        if event.kind == EventKind::State && event.state == state {
            return;
        }
    }
}

/// What a closure has sent that is gone, and its sender with it.
fn all_that_is_left(events: &Receiver<Event>) -> Vec<Event> {
    let mut left = vec![];
    loop {
        match events.recv_timeout(Duration::from_secs(20)) {
            Ok(event) => left.push(event),
            Err(RecvTimeoutError::Disconnected) => return left,
            Err(RecvTimeoutError::Timeout) => panic!("the closure is still there"),
        }
    }
}

#[test]
fn first_event_tells_the_state() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-first");
    let events = listen(&attached.device)?;
    let first = events.recv_timeout(Duration::from_secs(20))?;
    assert_eq!((first.kind, first.state), (EventKind::State, State::Running));
    Ok(())
}

#[test]
fn changes_of_the_state_are_told_in_order() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-order");
    let events = listen(&attached.device)?;
    wait_for(&events, State::Running);
    attached.device.suspend(None)?;
    wait_for(&events, State::Suspended);
    attached.device.resume(None)?;
    wait_for(&events, State::Running);
    attached.device.detach(None)?;
    wait_for(&events, State::Ended);
    Ok(())
}

#[test]
fn nothing_is_told_after_the_end() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-end");
    let events = listen(&attached.device)?;
    wait_for(&events, State::Running);
    attached.device.clear_events()?;
    attached.device.suspend(None)?;
    let rest = all_that_is_left(&events);
    assert!(rest.iter().all(|event| event.state == State::Running), "{rest:?}");
    Ok(())
}

#[test]
fn another_closure_takes_the_place_of_the_first() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-second");
    let first = listen(&attached.device)?;
    let second = listen(&attached.device)?;
    wait_for(&second, State::Running);
    attached.device.suspend(None)?;
    wait_for(&second, State::Suspended);
    assert!(all_that_is_left(&first).iter().all(|event| event.state == State::Running));
    Ok(())
}

#[test]
fn panic_of_the_closure_ends_nothing_else() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-panic");
    let (sender, events) = channel();
    let mut calls = 0;
    attached.device.set_events(move |event| {
        calls += 1;
        let _ = sender.send(event);
        assert!(calls > 1, "this panic is part of the test");
    })?;
    wait_for(&events, State::Running);
    attached.device.suspend(None)?;
    wait_for(&events, State::Suspended);
    Ok(())
}

#[test]
fn closure_cannot_change_who_hears() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-change");
    let device = Arc::new(attached.device);
    let (sender, results) = channel();
    let inner = Arc::downgrade(&device);
    device.set_events(move |_| {
        let Some(device) = inner.upgrade() else { return };
        let errnos = [errno_of(device.clear_events()), errno_of(device.set_events(|_| ()))];
        let _ = sender.send((errnos, errno_of(device.suspend(None))));
    })?;
    let (errnos, suspend) = results.recv_timeout(Duration::from_secs(20))?;
    assert_eq!(errnos, [EDEADLK; 2]);
    assert_eq!(suspend, EDEADLK);
    device.clear_events()?;
    Ok(())
}

/// The other thread waits for the closure to end, so the closure must not wait for the other thread.
#[test]
fn closure_is_refused_while_another_thread_ends_it() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-meanwhile");
    let device = Arc::new(attached.device);
    let (sender, results) = channel();
    let inner = Arc::downgrade(&device);
    device.set_events(move |_| {
        let Some(device) = inner.upgrade() else { return };
        let _ = sender.send(None);
        thread::sleep(Duration::from_millis(200));
        let _ = sender.send(Some(errno_of(device.set_events(|_| ()))));
    })?;
    assert_eq!(results.recv_timeout(Duration::from_secs(20))?, None, "the closure runs");
    let other = Arc::clone(&device);
    let ending = thread::spawn(move || other.clear_events());
    assert_eq!(results.recv_timeout(Duration::from_secs(20))?, Some(EDEADLK));
    ending.join().expect("no panic")?;
    Ok(())
}

/// Nobody can wait for a device inside its own closure: another thread closes it.
#[test]
fn device_that_is_dropped_by_its_closure_is_closed() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t440-drop");
    let slot = Arc::new(Mutex::new(Some(attached.device)));
    let inner = Arc::clone(&slot);
    let (sender, dropped_on) = channel();
    let lock = |slot: &Mutex<Option<Device>>| slot.lock().expect("no panic").take();
    let device = lock(&slot).expect("it is there");
    let (given, gives) = channel::<()>();
    device.set_events(move |_| {
        let _ = gives.recv();
        if let Some(device) = inner.lock().expect("no panic").take() {
            drop(device);
            let _ = sender.send(thread::current().id());
        }
    })?;
    *slot.lock().expect("no panic") = Some(device);
    given.send(())?;
    assert_ne!(dropped_on.recv_timeout(Duration::from_secs(20))?, thread::current().id());
    eventually("the image is free again", || Image::open(&attached.image).is_ok());
    Ok(())
}
